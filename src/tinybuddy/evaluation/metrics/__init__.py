"""What the scorecard measures: one file a metric."""
