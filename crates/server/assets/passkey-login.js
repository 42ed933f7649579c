// Sign-in with a passkey: by the button, or by the suggestions of the address field. Without any
// input the page sends no request.
import { inWords, prove, supported } from './passkey.js';

const way = document.getElementById('passkey');
const problem = document.getElementById('passkey-problem');
let waiting = null;

async function signIn(how) {
    try {
        // The sign-in gives the session a new id, so the live stream of the old id is closed first.
        dispatchEvent(new Event('tracera:renewed'));
        await prove(how);
        location.assign(way.dataset.next || '/');
    } catch (error) {
        const words = inWords(error);
        problem.textContent = words;
        problem.hidden = !words;
    }
}

async function suggest() {
    if (waiting || !(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    waiting = new AbortController();
    await signIn({ mediation: 'conditional', signal: waiting.signal });
}

if (way && supported()) {
    way.hidden = false;
    document.getElementById('use-passkey').addEventListener('click', () => {
        // The browser allows only one request at a time.
        waiting?.abort();
        signIn();
    });
    const field = document.getElementById('email');
    field?.addEventListener('pointerdown', suggest, { once: true });
    field?.addEventListener('keydown', suggest, { once: true });
}
