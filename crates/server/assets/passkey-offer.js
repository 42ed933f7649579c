// Shows the offer of a passkey if the browser supports passkeys.
import { supported } from './passkey.js';

const offer = document.getElementById('passkey-offer');
if (offer && supported()) {
  const onThisDevice = PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable?.();
  offer.hidden = !(await (onThisDevice ?? true));
}
