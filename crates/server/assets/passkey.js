// Shared by pages with passkeys: requests to the server and to the browser's authenticator.
const api = '/api/v1/auth';

export const supported = () => Boolean(globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON);

// Posts JSON with a fresh CSRF token. Returns whether it succeeded, and the response body.
export async function post(path, body) {
    const { csrf_token: token } = await (await fetch(`${api}/csrf`, { cache: 'no-store' })).json();
    const response = await fetch(`${api}${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': token },
        body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { ok: response.ok, body: await response.json().catch(() => ({})) };
}

// Signs in, or confirms who the signed-in user is. Throws an error if it fails or the user cancels.
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

// The message for an error; empty if the user cancelled or another request replaced this one.
export function inWords(error) {
    if (['NotAllowedError', 'AbortError'].includes(error.name)) return '';
    if (error.name === 'InvalidStateError')
        return 'This device has a passkey for this account already.';
    if (error.name === 'SecurityError') return 'Passkeys do not work at this address.';
    const words = error.message || 'that did not work';
    return `${words[0].toUpperCase()}${words.slice(1)}.`;
}
