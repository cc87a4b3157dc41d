"""Numbers: metrics and extractors, every level, the four uses, what else one would pick, the raters' study.

Here: what turns pictures and answers into numbers, intervals and Markdown tables, over photographs no training saw.
Not here: pictures of those numbers (`figures/`), the commands that write them to files (`cli/`).
"""
