// Takes the token out of the address bar and the history; the form still has it.
history.replaceState(null, '', location.pathname);
