// Evaluated in WhatsApp's page when it is asked about its chats, people and groups, behind the hook (`page.js`). An answer
// is a text: "=" and JSON, or "!" and why there is none. Of the page's models plain values alone cross: models are cyclic.
(() => {
  const hook = window.__waguard;
  const W = hook.wpp;
  const { attempt, isTooOften, knownNumber, lidOf, person, report, text, wellFormed, wid } = hook.lent;
  const LONGEST = 1_000_000; // characters of an answer
  const NAME = 256;
  const WORD = 128;
  const DESCRIPTION = 4_096;
  const MOST_MEMBERS = 4_096;

  class Refused extends Error {
    constructor(kind, why, field = null) {
      super(why);
      Object.assign(this, { kind, field });
    }
  }
  // what wa-js says before it asks WhatsApp, or when WhatsApp's server has said no: nothing was changed
  const NOT_DONE = new Set([
    'group_add_participant_error', 'group_participant_is_not_a_group_member', 'group_participant_not_found',
    'group_you_are_not_admin', 'invalid_wid', 'not_a_group', 'not_valid_group_participants',
  ]);

  const short = (value, most = NAME) => text(value)?.slice(0, most) || null;
  // one odd value costs no list. One version of the page has seconds where another has milliseconds
  const LATEST = 253_402_300_799; // the end of the year 9999
  const second = (value) => {
    const at = Number.isFinite(value) ? Math.floor(value > 1e11 ? value / 1000 : value) : 0;
    return at > 0 && at <= LATEST ? at : null;
  };
  const count = (value) => (Number.isSafeInteger(value) && value > 0 ? value : 0);
  const idOf = (it) => attempt(() => /^.{1,128}$/.exec(wid(it.id))[0]);
  const digitsOf = (id) => id.split('@')[0];
  const identity = (id) => ({ id, phone: attempt(() => /^\d{1,20}(?=@)/.exec(knownNumber(id))[0]) });
  const part = (all, { offset, limit }, read) => (
    { total: all.length, items: all.slice(offset, offset + limit).map(read).filter(Boolean) });
  const newestFirst = (chats) => chats.map((chat) => [second(attempt(() => chat.t)) ?? 0, chat])
    .sort(([one], [other]) => other - one).map(([, chat]) => chat);
  const listed = () => newestFirst(W.whatsapp.ChatStore.getModelsArray());
  const nameOf = (chat) => [() => chat.formattedTitle, () => chat.name, () => chat.contact.name, () => chat.contact.pushname]
    .map((read) => short(attempt(read))).find(Boolean) ?? null;

  const everyId = (ids) => ids.flatMap((id) => [id, lidOf(id), person(id)]).filter(Boolean);
  const contactOf = (id) => attempt(() => W.whatsapp.ContactStore.get(W.util.createWid(id)));
  // A question creates no chat: the one that the page has, under whichever id.
  const chatOf = (...ids) => {
    const chat = everyId(ids).map((one) => attempt(() => W.chat.get(one))).find(Boolean);
    if (!chat) throw new Refused('absent', 'the page has no such chat');
    return chat;
  };
  const membersOf = async (group) => {
    chatOf(group);
    return W.group.getParticipants(group);
  };
  const added = (participants) => (participants ?? []).map((it) => {
    const [id, said] = 'userWid' in it ? [wid(it.userWid), it] : Object.entries(it)[0];
    const code = Number(said.code ?? said);
    return {
      ...identity(wid(said.wid) ?? id), code: Number.isSafeInteger(code) && code ? code : null,
      invite_code: short(said.invite_code, WORD),
    };
  });

  // By WhatsApp's own function: wa-js makes a server's error a no. A 429 may come when its question has been answered.
  let unheard = null;
  const exists = async (chat) => {
    const { queryWidExists: ask } = W.whatsapp.functions;
    if (!ask) throw new Error('wa-js cannot resolve functions.queryWidExists');
    try {
      const found = Boolean(await ask(W.util.createWid(chat)));
      report('people', { asked: { number: chat, exists: found } });
      return found;
    } catch (error) {
      if (!isTooOften(error)) return null;
      unheard = error;
      throw error;
    }
  };

  // What a call gives, as plain values: at most so deep, and so many of them.
  const MOST_VALUES = 50_000;
  const DEEPEST = 8;
  const plain = (given) => {
    let values = 0;
    const within = new Set();
    const read = (value, left) => {
      values += 1;
      if (values > MOST_VALUES) throw new Refused('refused', `the answer has more than ${MOST_VALUES} values: ask for less`);
      if (typeof value === 'bigint') return String(value);
      if (Object(value) !== value) return typeof value === 'symbol' ? null : value ?? null;
      if (typeof value === 'function' || !left || within.has(value) || ArrayBuffer.isView(value)) return null;
      const serialized = attempt(() => value._serialized);
      if (typeof serialized === 'string') return serialized;
      within.add(value);
      try {
        const items = Array.isArray(value) || value instanceof Set ? [...value] : attempt(() => value.getModelsArray());
        if (items) return items.map((it) => read(it, left - 1));
        const own = value instanceof Map ? [...value] : Object.keys(attempt(() => value.attributes) ?? value)
          .map((name) => [name, attempt(() => (value.attributes ?? value)[name])]);
        return Object.fromEntries(own.map(([name, it]) => [String(name), read(it, left - 1)]));
      } finally {
        within.delete(value);
      }
    };
    return read(given, DEEPEST);
  };

  const QUESTIONS = {
    // One after the other, none after a 429 and none behind the deadline: whoever asked repeats it then.
    async numbers(chats, { until }) {
      if (unheard) throw unheard;
      const found = [];
      const late = new Promise((done) => setTimeout(done, until - Date.now(), null));
      for (const chat of chats) {
        found.push([chat, Date.now() < until ? await Promise.race([exists(chat), late]) : null]);
      }
      return found;
    },
    chats: (range) => part(listed(), range, (chat) => {
      const id = idOf(chat);
      return id && {
        ...identity(id), name: nameOf(chat), is_group: id.endsWith('@g.us'), timestamp: second(attempt(() => chat.t)),
        unread: count(attempt(() => chat.unreadCount)), archived: attempt(() => chat.archive) === true,
      };
    }),
    async contacts(range) {
      const people = (await W.contact.list()).map((it) => [idOf(it), it]);
      const sorted = people.filter(([id]) => /@(c\.us|lid)$/.test(id)).sort(([one], [other]) => (one < other ? -1 : 1));
      return part(sorted, range, ([id, it]) => ({
        ...identity(id), name: short(attempt(() => it.name)), push_name: short(attempt(() => it.pushname)),
        is_my_contact: attempt(() => it.isMyContact) === true, is_business: attempt(() => it.isBusiness) === true,
      }));
    },
    // WhatsApp is asked about nobody whom the page does not know: that would be a look-up of a number.
    async picture(ids) {
      const id = everyId(ids).find((one) => attempt(() => W.chat.get(one)) ?? contactOf(one));
      if (!id) throw new Refused('absent', 'the page has no such chat or contact');
      const url = await W.contact.getProfilePictureUrl(id);
      return { url: typeof url === 'string' && url.startsWith('https://') && url.length <= 4_096 ? url : null };
    },
    // The page's own messages: before one of them, or the newest; of what does not fit the oldest are left out.
    async messages(ids, before, count) {
      const chat = chatOf(...ids);
      const { messages } = await hook.history(wid(chat.id), before, count);
      const sorted = messages.map(({ participants, ...it }) => it).reverse() // of one second the page has the oldest first
        .sort((one, other) => (other.timestamp ?? 0) - (one.timestamp ?? 0));
      let left = LONGEST / 2;
      const fitting = sorted.filter((it, index) => (left -= JSON.stringify(it).length) > 0 || !index);
      return { messages: fitting, before: fitting.findLast((it) => it.id)?.id ?? null };
    },
    groups: (range) => part(listed().filter((chat) => /@g\.us$/.test(idOf(chat))), range, (chat) => ({
      id: idOf(chat), name: nameOf(chat), timestamp: second(attempt(() => chat.t)),
      members: attempt(() => chat.groupMetadata.participants.getModelsArray().length),
    })),
    async group(id) {
      const members = await membersOf(id);
      const chat = chatOf(id);
      const metadata = (name) => attempt(() => chat.groupMetadata[name]);
      return {
        id, name: nameOf(chat) ?? short(metadata('subject')), description: short(metadata('desc'), DESCRIPTION),
        owner: idOf({ id: metadata('owner') }), created_at: second(metadata('creation')), total: members.length,
        is_admin: attempt(() => chat.groupMetadata.participants.iAmAdmin()) === true,
        members: members.filter((it) => idOf(it)).slice(0, MOST_MEMBERS).map((it) => ({
          ...identity(idOf(it)), is_admin: (it.isAdmin || it.isSuperAdmin) === true, is_owner: it.isSuperAdmin === true,
        })),
      };
    },
    async invite(id) {
      chatOf(id);
      const found = await W.group.getInviteCode(id);
      return { code: short(found?.inviteCode ?? found?.code ?? found, WORD) };
    },
    // wa-js's own waits forever where the new group's data are not told to be there; who is no contact is asked for as above.
    async create(name, chats, turn) {
      const unknown = chats.filter((id) => !(contactOf(id) ?? attempt(() => chatOf(id))));
      for (const [id, exists] of await QUESTIONS.numbers(unknown, turn)) {
        if (exists === null) throw new Refused('later', `WhatsApp did not say whether ${digitsOf(id)} is known to it`);
        if (!exists) throw new Refused('refused', `+${digitsOf(id)} is not on WhatsApp`, 'participants');
      }
      const people = chats.map((id) => W.util.createWid(knownNumber(id) ?? id));
      turn.begin();
      const made = await W.whatsapp.functions.sendCreateGroup(name, people, undefined, undefined);
      if (!made?.gid) throw new Error('WhatsApp named no group');
      return { id: wid(made.gid), participants: added(made.participants) };
    },
    async add(group, chats, { begin }) {
      await membersOf(group);
      begin();
      const said = await W.group.addParticipants(group, chats);
      return { id: group, participants: added(Object.values(said).map((it) => ({ [it.wid]: it }))) };
    },
    async remove(group, chats, { begin }) {
      const members = (await membersOf(group)).map(({ id }) => wid(id));
      const known = new Map(members.flatMap((id) => [[id, id], [attempt(() => knownNumber(id)) ?? id, id]]));
      const ids = chats.map((id) => {
        const found = [id, lidOf(id), person(id)].map((one) => known.get(one)).find(Boolean);
        if (!found) throw new Refused('refused', `${digitsOf(id)} is not in the group`, 'participants');
        return found;
      });
      begin();
      await W.group.removeParticipants(group, ids);
      return { id: group, participants: ids.map((id) => ({ ...identity(id), code: 200, invite_code: null })) };
    },
    async call(name, given) {
      const [namespace, called] = name.split('.');
      const read = Object.hasOwn(W, namespace) && Object.hasOwn(W[namespace], called) ? W[namespace][called] : null;
      if (typeof read !== 'function') throw new Refused('refused', `wa-js has no ${name}`, 'function');
      return plain(await read(...given));
    },
  };

  const encoded = (value) => {
    const json = JSON.stringify(value ?? null, wellFormed);
    if (json.length > LONGEST) throw new Refused('refused', `the answer has more than ${LONGEST} characters: ask for less`);
    return `=${json}`;
  };
  const failure = (error, hasBegun) => {
    const why = text(`${error}`).slice(0, 500);
    if (error instanceof Refused && !hasBegun) return { kind: error.kind, error: error.message.slice(0, 500), field: error.field };
    if (isTooOften(error)) {
      unheard = null;
      return { kind: 'too_often', error: 'WhatsApp answers 429: it was asked too often' };
    }
    if (error?.code === 'chat_not_found') return { kind: 'absent', error: 'the page has no such chat' };
    if (NOT_DONE.has(error?.code)) return { kind: 'refused', error: why };
    return { kind: hasBegun ? 'uncertain' : 'error', error: why };
  };

  window.__waguardAsking = {
    wpp: W,
    // `until`: unix time in ms; a page that was stopped meanwhile begins nothing that nobody waits for
    async answer(name, given, until) {
      let hasBegun = false;
      const begin = () => {
        if (Date.now() >= until) throw new Refused('later', 'the page was too slow: nothing was changed');
        hasBegun = true;
      };
      try {
        return encoded(await QUESTIONS[name](...given, { begin, until }));
      } catch (error) {
        return `!${JSON.stringify(failure(error, hasBegun), wellFormed)}`;
      }
    },
  };
})()
