"""What the user calls in a shell: a module for each command, with a public function `command`."""
