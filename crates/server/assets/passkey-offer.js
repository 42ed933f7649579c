// Shows the offer of a passkey where the browser can make one.
import { supported } from './passkey.js';

const offer = document.getElementById('passkey-offer');
if (offer && supported()) {
  const onThisDevice = PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable?.();
  offer.hidden = !(await (onThisDevice ?? true));
}
