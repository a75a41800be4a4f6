"""Training in shards and slices (SISA), so that forgetting a row costs a part of one shard's training.

Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie and Papernot, Machine Unlearning, IEEE S&P 2021, arXiv:1912.03817.

A row's shard and slice are drawn by key from (seed, id): removing rows moves no other. Member k sees nothing but shard k: it is trained by
the recipe on the shard's first slice, then from there on its first two slices, and so on; after each stage its weights are kept. A stage
takes 2 / (R + 1) of the recipe's epochs, so that R slices see as many rows as one training on the shard would. Stages have seeds of their
own; within each the places of rows that are gone stay empty, as in `influence.loop`.
"""
