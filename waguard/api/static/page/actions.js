// Buttons that do something: each shows its outcome.
import { h, remedy } from './dom.js';
import { may } from './state.js';

export const forget = (group) => group?.querySelectorAll(':not([aria-busy]) + .outcome').forEach((it) => it.replaceChildren());

// `run` gives what `call` gives, or null where it was not confirmed; '' where the key may not do it
export function action(label, run, { right = 'operate', kind = '', done = 'Done.', name = null } = {}) {
  if (!may(right)) return '';
  const outcome = h('output', { class: 'outcome' });
  const button = h('button', { type: 'button', class: kind, 'aria-label': name }, label);
  const say = (words, bad, advice) => {
    outcome.classList.toggle('bad', bad);
    outcome.replaceChildren(words, advice ? ' ' : '', remedy(advice));
  };
  button.addEventListener('click', async () => {
    if (button.ariaBusy === 'true') return; // it stays in the order of the keyboard
    forget(button.closest('.buttons'));
    button.ariaBusy = 'true';
    say('Running …', false);
    try {
      const result = await run((words) => say(words, false));
      if (result === null) say('', false); // it was not confirmed
      else if (result && !result.ok) say(sentence(result.error), true, result.remedy);
      else say(typeof done === 'function' ? done(result) : done, false);
    } catch (error) {
      say(sentence(error.message), true);
    }
    button.ariaBusy = null;
  });
  return h('span', { class: 'action' }, button, outcome);
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

// Enter in a field of a form presses its button
export function entered(event) {
  if (event.key !== 'Enter' || !event.target.matches('input')) return;
  event.preventDefault();
  event.currentTarget.querySelector('button')?.click();
}

// what cannot be undone asks for the name, and says what is lost. Gives what `run` gives, or null
export function confirmByName({ title, lost, name, verb }, run) {
  const typed = h('input', { id: 'confirm-name', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', required: true });
  const go = h('button', { class: 'danger', value: 'yes' }, verb);
  const cancel = h('button', { type: 'button', class: 'quiet', onclick: () => dialog.close('') }, 'Cancel');
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'confirm-title' },
    h('form', { method: 'dialog' },
      h('h2', { id: 'confirm-title' }, title),
      h('ul', {}, lost.map((it) => h('li', {}, it))),
      h('label', { for: 'confirm-name' }, 'Type ', h('strong', {}, name), ' to confirm'),
      typed,
      h('div', { class: 'row' }, go, cancel)),
  );
  typed.addEventListener('input', () => typed.setCustomValidity(typed.value === name ? '' : 'This is another name.'));
  typed.setCustomValidity('This is another name.');
  document.body.append(dialog);
  dialog.showModal();
  typed.focus();
  return new Promise((done) => {
    dialog.addEventListener('close', () => {
      const agreed = dialog.returnValue === 'yes' && typed.value === name;
      dialog.remove();
      done(agreed ? run() : null);
    });
  });
}
