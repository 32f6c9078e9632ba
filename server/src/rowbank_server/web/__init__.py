"""What HTTP ports share: a server in a thread of its own, connections that are kept short, answers, files."""
