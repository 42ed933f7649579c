// Removes the parameters of a message from the address, so that a reload does not show or start it
// again.
const address = new URL(location.href);
for (const name of ['done', 'error', 'download']) address.searchParams.delete(name);
history.replaceState(history.state, '', address);
