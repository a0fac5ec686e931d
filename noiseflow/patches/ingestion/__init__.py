"""From sources to a patch store: plan, tasks, cutting."""
