"""Start: placeholder while written."""
from influence.ui import state
state.page("Start", "x")
