"""Commands that say how the whole is: `status`, `stat`, `bigtables`, `doctor`."""
