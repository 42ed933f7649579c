// Takes what a page says of the last step out of the address, so that a reload does not say it, or
// begin it, again.
const address = new URL(location.href);
for (const name of ['done', 'error', 'download']) address.searchParams.delete(name);
history.replaceState(history.state, '', address);
