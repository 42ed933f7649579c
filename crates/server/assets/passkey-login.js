// Signing in with a passkey: by the button, or from the suggestions of the address field. A page
// that nobody touches asks the server nothing.
import { inWords, prove, supported } from './passkey.js';

const way = document.getElementById('passkey');
const problem = document.getElementById('passkey-problem');
let waiting = null;

async function signIn(how) {
    try {
        // Whatever watches a session that gets a new id by this stops first.
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
        // Only one request may be open.
        waiting?.abort();
        signIn();
    });
    const field = document.getElementById('email');
    field?.addEventListener('pointerdown', suggest, { once: true });
    field?.addEventListener('keydown', suggest, { once: true });
}
