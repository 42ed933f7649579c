// The page that waits for a sign-in link: counts down to the next mail, sends the code once it is
// complete, and notices when the link was used elsewhere.
const POLL_MS = 2000;
const GIVE_UP_MS = 10 * 60 * 1000;

const waiting = document.querySelector('[data-waiting]');
const again = document.querySelector('[data-wait]');
function countDown(seconds) {
    again.disabled = seconds > 0;
    again.textContent = seconds > 0 ? `Send it again in ${seconds} s` : 'Send it again';
    if (seconds > 0) setTimeout(countDown, 1000, seconds - 1);
}
countDown(Number(again.dataset.wait));

// Counts down the minutes until another mail is allowed.
const minutes = document.querySelector('[data-minutes]');
function countMinutes(left) {
    minutes.textContent = `${left} minute${left === 1 ? '' : 's'}`;
    if (left > 1) setTimeout(countMinutes, 60_000, left - 1);
}
if (minutes) countMinutes(Number(minutes.dataset.minutes));

const code = document.getElementById('code');
code.addEventListener('input', () => {
    const digits = code.value.replace(/\D/g, '').slice(0, 6);
    if (code.value !== digits) code.value = digits;
    if (digits.length === 6) code.form.requestSubmit();
});
code.form.addEventListener('submit', (event) => {
    if (code.form.dataset.sent) event.preventDefault();
    code.form.dataset.sent = 'yes';
});

async function look() {
    if (document.hidden) return;
    const response = await fetch('/login/status', { cache: 'no-store' }).catch(() => null);
    if (!response?.ok) return;
    const { status } = await response.json();
    if (status === 'signed_in') location.replace(waiting.dataset.next);
    if (status === 'confirmed_elsewhere') showElsewhere();
    showTrouble(status);
}

// Shows why the mail cannot leave, and hides the announcement of the mail meanwhile.
function showTrouble(status) {
    const troubles = [...document.querySelectorAll('[data-trouble]')];
    for (const trouble of troubles) trouble.hidden = trouble.dataset.trouble !== status;
    const promise = document.querySelector('[data-promise]');
    if (promise) promise.hidden = troubles.some((trouble) => !trouble.hidden);
}

function showElsewhere() {
    clearInterval(polling);
    waiting.hidden = true;
    const elsewhere = document.querySelector('[data-elsewhere]');
    elsewhere.hidden = false;
    elsewhere.querySelector('h1').focus();
    document.title = 'Confirmed on another device · Tracera';
}

const polling = setInterval(look, POLL_MS);
setTimeout(clearInterval, GIVE_UP_MS, polling);
document.addEventListener('visibilitychange', look);
