// The portfolio page: imports without leaving the page, counts down the wait, and shows values of
// the chart.
import { local } from './times.js';

const form = document.querySelector('[data-import]');
const button = form?.querySelector('button');
const progress = document.querySelector('[data-progress]');
const problem = document.querySelector('[data-import-problem]');

const label = button?.dataset.label;
const waitUntil = Date.now() + (button?.dataset.wait ?? 0) * 1000;

// Enables the import button, or shows the time left until an import is allowed.
function offer() {
    if (!button) return;
    const seconds = Math.ceil((waitUntil - Date.now()) / 1000);
    const isRunning = !progress.hidden;
    button.disabled = isRunning || seconds > 0;
    if (isRunning) button.textContent = 'Importing…';
    else if (seconds > 0) {
        const minutes = Math.floor(seconds / 60);
        button.textContent = `${label} in ${minutes}:${String(seconds % 60).padStart(2, '0')}`;
        setTimeout(offer, 1000);
    } else button.textContent = label;
}

function show({
    stage,
    pages,
    items_found: found,
    items_total: total,
    items_matched: matched,
    wait_seconds: wait,
}) {
    const bar = progress.querySelector('progress');
    if (total) Object.assign(bar, { max: total, value: found });
    const text = {
        waiting: wait
            ? `Waiting ${wait} s for Steam, which wants requests kept apart.`
            : 'Waiting for its turn at Steam.',
        reading:
          `Read ${found}${total ? ` of ${total}` : ''} items on ` +
          `${pages} page${pages === 1 ? '' : 's'}, ${matched} of them priced.`,
        saving: 'Putting it in place.',
    };
    progress.querySelector('[data-progress-text]').textContent =
        text[stage] ?? 'An import is running.';
}

// Shows whether an import is running.
function run(isRunning) {
    progress.hidden = !isRunning;
    offer();
}

function follow() {
    run(true);
    const events = new EventSource('/api/v1/portfolio/import/events');
    events.addEventListener('progress', (event) => show(JSON.parse(event.data)));
    for (const end of ['done', 'ended', 'failed', 'idle']) {
        events.addEventListener(end, (event) => {
            events.close();
            if (end === 'done' || end === 'ended') location.replace('/');
            else if (end === 'failed') fail(JSON.parse(event.data));
            else run(false);
        });
    }
    return events;
}

// The page has a message for each code. Errors without a code are shown here.
function fail({ error, code }) {
    if (code === 'unauthenticated') return location.replace('/login?error=signed_out');
    if (code) return location.replace(`/?error=${encodeURIComponent(code)}`);
    run(false);
    problem.textContent = error;
    problem.hidden = false;
}

async function importFrom(path, token, body) {
    // Messages about the earlier import are outdated.
    for (const past of document.querySelectorAll('main [role="alert"]')) past.hidden = true;
    run(true);
    const request = fetch(path, { method: 'POST', headers: { 'X-CSRF-Token': token }, body });
    let settled = false;
    let events = null;
    // The stream knows the import only a moment after it was requested.
    setTimeout(() => {
        if (!settled) events = follow();
    }, 300);
    try {
        const response = await request;
        settled = true;
        if (response.status === 202) return events ?? follow();
        events?.close();
        const answer = await response.json();
        if (response.ok) location.replace('/');
        else fail(answer);
    } catch {
        settled = true;
        events?.close();
        fail({ error: 'The server cannot be reached. Please try again.' });
    }
}

form?.addEventListener('submit', (event) => {
    event.preventDefault();
    importFrom('/api/v1/portfolio/import', form.elements.csrf_token.value);
});

// Several files are the pages of one inventory, in the order of their names.
const upload = document.querySelector('[data-upload]');
upload?.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { inventory, csrf_token: token } = upload.elements;
    const files = [...inventory.files].sort((a, b) =>
        a.name.localeCompare(b.name, 'en', { numeric: true }),
    );
    const pages = await Promise.all(files.map((file) => file.text()));
    const body = pages.length > 1 ? `[${pages.join(',')}]` : pages[0];
    importFrom(
        '/api/v1/portfolio/import/upload',
        token.value,
        new Blob([body], { type: 'application/json' }),
    );
});
if (progress.hidden) offer();
else follow();

// Pictures that do not load give way to the drawing behind them.
for (const picture of document.querySelectorAll('.picture img')) {
    picture.addEventListener('error', () => picture.remove());
    if (picture.complete && !picture.naturalWidth) picture.remove();
}

const chart = document.querySelector('[data-chart]');
if (chart) {
    const drawing = chart.querySelector('svg');
    const points = chart.dataset.points
        .trim()
        .split('\n')
        .map((line) => {
            const [place, when, value] = line.split('|');
            const [x, y] = place.split(' ').map(Number);
            return { x, y, when: local(when), value };
        });
    const mark = chart.querySelector('[data-at]');
    const tip = chart.querySelector('[data-tip]');
    const { width, height } = drawing.viewBox.baseVal;
    let at = points.length - 1;
    const text = ({ when, value }) => `${when}: ${value}`;
    const read = (index) => {
        at = Math.max(0, Math.min(points.length - 1, index));
        const { when, value } = points[at];
        const [x, y] = [points[at].x / width, points[at].y / height];
        mark.style.left = tip.style.left = `${x * 100}%`;
        mark.style.top = tip.style.top = `${y * 100}%`;
        tip.classList.toggle('before', x > 0.5);
        tip.replaceChildren(
            Object.assign(document.createElement('strong'), { textContent: value }),
            when,
        );
        mark.hidden = tip.hidden = false;
        drawing.setAttribute('aria-valuenow', at);
        drawing.setAttribute('aria-valuetext', text(points[at]));
    };
    for (const [name, value] of Object.entries({
        role: 'slider',
        tabindex: 0,
        'aria-valuemin': 0,
        'aria-valuemax': points.length - 1,
        'aria-valuenow': at,
        'aria-valuetext': text(points[at]),
    })) {
        drawing.setAttribute(name, value);
    }
    drawing.addEventListener('keydown', (event) => {
        const to = {
            ArrowLeft: at - 1,
            ArrowDown: at - 1,
            ArrowRight: at + 1,
            ArrowUp: at + 1,
            Home: 0,
            End: points.length - 1,
        }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        read(to);
    });
    drawing.addEventListener('focus', () => read(at));
    drawing.addEventListener('pointermove', (event) => {
        const box = drawing.getBoundingClientRect();
        const x = ((event.clientX - box.left) / box.width) * width;
        const distance = (point) => Math.abs(point.x - x);
        read(
            points.reduce(
                (best, point, index) => (distance(point) < distance(points[best]) ? index : best),
                0,
            ),
        );
    });
    for (const leaving of ['pointerleave', 'blur']) {
        drawing.addEventListener(leaving, () => {
            mark.hidden = tip.hidden = document.activeElement !== drawing;
        });
    }
}
