// A sign-in page that was open for long: its form's token is no longer good, so another one is
// fetched before it is sent.
const GOOD_FOR_MS = 9 * 60 * 1000;

const opened = Date.now();
const form = document.querySelector('form');

form?.addEventListener('submit', async (event) => {
    if (Date.now() - opened < GOOD_FOR_MS) return;
    event.preventDefault();
    const response = await fetch(location.href, { cache: 'no-store' }).catch(() => null);
    // Whoever signed in in another tab has no more use for it.
    if (response?.redirected) return location.replace(response.url);
    if (response?.ok) {
        const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
        form.elements.csrf_token.value = fresh.querySelector('[name="csrf_token"]').value;
    }
    form.submit();
});
