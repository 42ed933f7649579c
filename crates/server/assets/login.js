// Sign-in forms: the token of a page that was open for long has expired, so a new one is fetched
// before the form is sent.
const GOOD_FOR_MS = 9 * 60 * 1000;

const opened = Date.now();
const form = document.querySelector('form');

form?.addEventListener('submit', async (event) => {
    if (Date.now() - opened < GOOD_FOR_MS) return;
    event.preventDefault();
    const response = await fetch(location.href, { cache: 'no-store' }).catch(() => null);
    // The user has signed in in another tab, so the form is not needed.
    if (response?.redirected) return location.replace(response.url);
    if (response?.ok) {
        const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
        form.elements.csrf_token.value = fresh.querySelector('[name="csrf_token"]').value;
    }
    form.submit();
});
