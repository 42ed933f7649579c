// Talks to the API and moves the forms along. Every page carries a CSRF token of its own.
const RESEND_SECONDS = 30;
const token = document.querySelector('meta[name="csrf-token"]');

async function call(method, path, body, again = true) {
  const headers = { 'X-CSRF-Token': token.content };
  if (body) headers['Content-Type'] = 'application/json';
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
  const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (answer.code === 'csrf_failed' && again) {
    const fresh = await fetch('/api/v1/auth/csrf', { cache: 'no-store' });
    if (fresh.ok) {
      token.content = (await fresh.json()).csrf_token;
      return call(method, path, body, false);
    }
  }
  throw new Error(sentence(response, answer));
}

function sentence(response, answer) {
  const wait = response.headers.get('Retry-After');
  if (response.status === 429) return `Too many attempts. Please wait ${wait} seconds.`;
  if (answer.code === 'link_invalid') return 'This link or code no longer works. Please ask for a new one.';
  const text = answer.error || `The server answered ${response.status}.`;
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

// Runs an action with its button disabled, and shows what went wrong next to it.
async function run(scope, button, action) {
  const problem = scope.querySelector('.problem');
  if (problem) problem.hidden = true;
  if (button) button.disabled = true;
  try {
    await action();
  } catch (error) {
    if (problem) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  } finally {
    if (button) button.disabled = false;
  }
}

function onSubmit(form, action) {
  form?.addEventListener('submit', (event) => {
    event.preventDefault();
    run(form, form.querySelector('[type=submit]'), action);
  });
}

const ask = document.querySelector('form[data-step=ask]');
const code = document.querySelector('form[data-step=code]');
const confirm = document.querySelector('form[data-step=confirm]');

function countDown(button, seconds) {
  button.disabled = seconds > 0;
  button.textContent = seconds > 0 ? `Send again in ${seconds} s` : 'Send again';
  if (seconds > 0) setTimeout(countDown, 1000, button, seconds - 1);
}

async function askForLink() {
  await call('POST', '/api/v1/auth/magic/request', { email: ask.email.value.trim() });
  code.querySelector('[data-sent-to]').textContent = ask.email.value.trim();
  ask.hidden = true;
  code.hidden = false;
  code.code.focus();
  countDown(code.querySelector('[data-again]'), RESEND_SECONDS);
}

onSubmit(ask, askForLink);
onSubmit(code, async () => {
  await call('POST', '/api/v1/auth/magic/verify', { code: code.code.value.replaceAll(' ', '') });
  location.assign('/');
});
code?.querySelector('[data-again]').addEventListener('click', () => run(code, null, askForLink));
code?.querySelector('[data-back]').addEventListener('click', () => {
  code.hidden = true;
  ask.hidden = false;
  ask.email.focus();
});

if (confirm) {
  history.replaceState(null, '', location.pathname);
  onSubmit(confirm, async () => {
    await call('POST', confirm.dataset.action, { token: confirm.dataset.token });
    location.replace('/');
  });
}

const card = document.querySelector('.card');
document.querySelector('[data-sign-out]')?.addEventListener('click', (event) =>
  run(card, event.target, async () => {
    await call('POST', '/api/v1/auth/logout');
    location.replace('/login');
  }));
document.querySelector('[data-sessions]')?.addEventListener('click', (event) => {
  const handle = event.target.dataset.revoke;
  if (!handle) return;
  run(card, event.target, async () => {
    await call('DELETE', `/api/v1/auth/sessions/${handle}`);
    event.target.closest('li').remove();
  });
});
document.querySelector('[data-revoke-others]')?.addEventListener('click', (event) =>
  run(card, event.target, async () => {
    await call('DELETE', '/api/v1/auth/sessions');
    location.reload();
  }));
