// Keeps a page up to date: signs it out when its session ends, and replaces the list of sessions
// when it changes. Open parts of the list stay open, and the focus stays where it is. Only a
// visible page holds a stream open, because browsers allow few per server.
let stream = null;

function signedOut() {
    location.replace(
        `/login?error=signed_out&next=${encodeURIComponent(location.pathname + location.search)}`,
    );
}

function open() {
    if (stream || document.hidden) return;
    stream = new EventSource('/account/live');
    stream.addEventListener('signed-out', () => {
        close();
        signedOut();
    });
    stream.addEventListener('sessions', (event) => {
        const shown = document.querySelector('[data-sessions]');
        if (shown && shown.dataset.sessions !== event.data) renew();
    });
    stream.addEventListener('error', () => {
        // The browser reconnects by itself unless the response was not a stream: either nobody is
        // signed in any more, or the server is too busy for streams.
        if (stream?.readyState !== EventSource.CLOSED) return;
        close();
        renew();
        setTimeout(open, 15000);
    });
}

function close() {
    stream?.close();
    stream = null;
}

async function renew() {
    const response = await fetch(location.href, { cache: 'no-store' }).catch(() => null);
    if (response?.redirected) return signedOut();
    if (!response?.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
    const shown = document.querySelector('[data-sessions]');
    const renewed = fresh.querySelector('[data-sessions]');
    if (!shown || !renewed) return;
    const focused = shown.contains(document.activeElement) ? document.activeElement : null;
    for (const { id } of shown.querySelectorAll('details[open]')) {
        const same = renewed.querySelector(`#${CSS.escape(id)}`);
        if (same) same.open = true;
    }
    shown.replaceWith(renewed);
    dispatchEvent(new Event('tracera:replaced'));
    if (!focused) return;
    const same = focused.id && document.getElementById(focused.id);
    (same || renewed.querySelector('[tabindex="-1"]')).focus({ preventScroll: true });
}

document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
addEventListener('pagehide', close);
// The page is about to give its session a new id, and reloads afterwards.
addEventListener('tracera:renewed', close);
// A submitted form, such as the sign-out, leads to another page.
addEventListener('submit', (event) => {
    if (!event.defaultPrevented) close();
});
addEventListener('pageshow', open);
open();
