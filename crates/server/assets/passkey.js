// What pages with passkeys share: asking the server, asking the browser, telling the browser what
// is gone.
const api = '/api/v1/auth';

export const supported = () => Boolean(globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON);

// Posts JSON with a fresh CSRF token; the answer's body beside whether it was a success.
export async function post(path, body) {
    const { csrf_token: token } = await (await fetch(`${api}/csrf`, { cache: 'no-store' })).json();
    const response = await fetch(`${api}${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': token },
        body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { ok: response.ok, body: await response.json().catch(() => ({})) };
}

// Signs in, or makes the session recent. Gives what went wrong; nothing when the person called it
// off.
export async function prove(how = {}) {
    const asked = await post('/passkey/options');
    if (!asked.ok) throw new Error(asked.body.error);
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(asked.body.publicKey);
    const credential = await navigator.credentials.get({ publicKey, ...how });
    const answer = await post('/passkey', credential.toJSON());
    if (answer.ok) return;
    if (answer.body.unknown_credential) {
        const gone = { rpId: asked.body.publicKey.rpId, credentialId: credential.id };
        await PublicKeyCredential.signalUnknownCredential?.(gone).catch(() => {});
    }
    throw new Error(answer.body.error);
}

// Makes a passkey and adds it to the account.
export async function register() {
    const asked = await post('/passkeys/options');
    if (!asked.ok) throw new Error(asked.body.error);
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.body.publicKey);
    const credential = await navigator.credentials.create({ publicKey });
    const answer = await post('/passkeys', credential.toJSON());
    if (!answer.ok) throw new Error(answer.body.error);
}

// What a page says of it; empty when the person called it off, or another request took its place.
export function inWords(error) {
    if (['NotAllowedError', 'AbortError'].includes(error.name)) return '';
    if (error.name === 'InvalidStateError')
        return 'This device has a passkey for this account already.';
    if (error.name === 'SecurityError') return 'Passkeys do not work at this address.';
    const words = error.message || 'that did not work';
    return `${words[0].toUpperCase()}${words.slice(1)}.`;
}
