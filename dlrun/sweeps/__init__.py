"""Many runs: which values they try, what they will take, the processes that train them, and their ranking."""
