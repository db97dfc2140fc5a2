"""What runs say: tables with intervals, plots, clips, groups, comparisons."""
