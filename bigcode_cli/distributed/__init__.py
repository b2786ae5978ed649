"""Data sets, computed by workers on Ray Data; the only folder that imports Ray or pyarrow."""
