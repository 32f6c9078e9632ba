"""Two-tower retrieval: a user-id tower and a title tower, trained on static, TFRA or Rowbank tables."""
