"""The sign of the program: waves that fade. Kept as text, for icons named by Streamlit are fetched from another site."""

WAVES = """<g fill="none" stroke="#2f8bc9" stroke-width="2.6" stroke-linecap="round"><path d="M3 10q5-5 10 0t10 0"/>
<path d="M3 17q5-5 10 0t10 0" opacity=".7"/><path d="M3 24q5-5 10 0t10 0" opacity=".35"/></g>"""
ICON = f'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="-3 0 32 32">{WAVES}</svg>'
LOGO = f"""<svg xmlns="http://www.w3.org/2000/svg" width="116" height="32" viewBox="0 0 116 32" role="img" aria-label="Lethe">{WAVES}
<text x="33" y="24" font-family="Georgia, serif" font-size="24" font-weight="600" fill="#2f8bc9">Lethe</text></svg>"""
