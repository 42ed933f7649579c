// The server renders times in UTC. This script replaces them by the reader's local time, with its
// zone.
const clock = new Intl.DateTimeFormat('en-GB', {
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
});

export const local = (machine) => clock.format(new Date(machine));

function localize() {
    for (const time of document.querySelectorAll('time[datetime]')) {
        const text = local(time.dateTime);
        if (time.title.endsWith(' UTC')) time.title = text;
        if (time.textContent.endsWith(' UTC')) time.textContent = text;
    }
}

addEventListener('tracera:replaced', localize);
localize();
