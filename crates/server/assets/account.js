// Passkeys on the account page: adds one, and uses one to confirm who you are before a sensitive
// change.
import { inWords, prove, register, supported } from './passkey.js';

const card = document.getElementById('passkeys');
const problem = document.getElementById('passkey-problem');
const recentUntil = performance.now() + Number(card.dataset.recentSecs) * 1000;
const has = JSON.parse(card.dataset.credentials);

function say(error) {
    const words = inWords(error);
    problem.textContent = words;
    problem.hidden = !words;
}

// The proof gives the session a new id, so the live stream of the old id is closed first.
async function confirm() {
    if (performance.now() < recentUntil || has.length === 0) return;
    dispatchEvent(new Event('tracera:renewed'));
    await prove();
}

async function add() {
    if (performance.now() >= recentUntil && has.length === 0) {
        location.assign('/confirm?next=%2Faccount');
        return;
    }
    try {
        await confirm();
        await register();
        location.assign('/account?done=passkey_added');
    } catch (error) {
        say(error);
    }
}

async function confirmThenSend(event) {
    const form = event.target;
    if (!form.matches('[data-recent]') || performance.now() < recentUntil || has.length === 0)
        return;
    event.preventDefault();
    try {
        await confirm();
        const { csrf_token: token } = await (
            await fetch('/api/v1/auth/csrf', { cache: 'no-store' })
        ).json();
        form.elements.csrf_token.value = token;
    } catch {
        // The response to the form is then the page with the other ways to confirm.
    }
    form.submit();
}

if (supported()) {
    const button = document.getElementById('add-passkey');
    button.hidden = false;
    button.addEventListener('click', add);
    addEventListener('submit', confirmThenSend);
    const kept = {
        rpId: card.dataset.rp,
        userId: card.dataset.user,
        allAcceptedCredentialIds: has,
    };
    PublicKeyCredential.signalAllAcceptedCredentials?.(kept).catch(() => {});
}
