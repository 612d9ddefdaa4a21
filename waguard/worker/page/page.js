// Evaluated in WhatsApp's page after wa-js. It forwards what happens to the binding `waguardReport`
// as JSON, and gives the worker the few calls it makes. It owns no state that a reload would lose.
(() => {
  const W = window.WPP;
  if (!W || !W.conn) return false;
  if (window.__waguard && window.__waguard.wpp === W) return true;
  const NOT_THERE = new Set(['msg_not_found', 'chat_not_found']);
  const attempt = (read) => { try { return read() ?? null; } catch { return null; } };
  const acquainted = []; // LIDs and their numbers, still to be reported
  const within = (deadline, asked, otherwise = null) => (
    Promise.race([asked, new Promise((done) => setTimeout(done, deadline, otherwise))]));
  // half a surrogate pair (a cut emoji) would pass JSON, and nothing after it
  const wellFormed = (_, value) => (typeof value === 'string' ? value.toWellFormed() : value);
  const say = (kind, data) => window.waguardReport(JSON.stringify({ kind, data }, wellFormed));
  const introduce = () => acquainted.length && say('people', { pairs: acquainted.splice(0) });
  const report = (kind, data) => {
    introduce(); // before what is reported of them
    say(kind, data);
  };
  // twice what is kept of any text: what is longer is seen to be, and fits through the pipe
  const LONGEST = 131_074;
  const text = (value) => (value === null || value === undefined ? null : String(value).slice(0, LONGEST));
  const wid = (value) => text(value && value._serialized ? value._serialized : value);

  // What waguard uses of wa-js's exports, by wa-js's names; of those with a | one is enough. WhatsApp
  // registers its modules long before they can be had (wa-js#3496), so each is really read. On the QR
  // screen nothing but linking is needed; without the last ones a session still sends and receives.
  const LINKING = [
    'Stream', 'Socket', 'Conn', 'Cmd', 'UserPrefs', 'Base64', 'functions.isAuthenticated', 'functions.isRegistered',
    'multidevice.waSignalStore', 'multidevice.waNoiseInfo', 'multidevice.adv',
  ];
  const MESSAGING = [
    'ChatStore', 'MsgStore', 'ContactStore', 'MsgKey', 'WidFactory', 'ChatModel', 'MsgModel',
    'functions.findOrCreateLatestChat', 'functions.addAndSendMsgToChat', 'functions.getEphemeralFields',
    'functions.getSearchContext', 'functions.unixTime', 'functions.msgFindByDirection|functions.msgFindQuery',
    'lidPnCache|ApiContact',
  ];
  const FURTHER = [
    'functions.sendReactionToMsg', 'functions.addAndSendMessageEdit', 'functions.canEditMsg', 'functions.canEditCaption',
    'functions.sendSeen', 'ChatPresence', 'VCard', 'functions.queryWidExists', 'functions.genLinkDeviceCodeForPhoneNumber', 'functions.initializeAltDeviceLinking',
    'MediaPrep', 'OpaqueData',
  ];
  // What waguard calls of wa-js itself.
  const CALLED = [
    'on', 'chat.deleteMessage', 'chat.downloadMedia', 'chat.editMessage', 'chat.find', 'chat.markIsComposing',
    'chat.markIsPaused', 'chat.markIsRead', 'chat.markIsRecording', 'chat.sendCreatePollMessage', 'chat.sendLocationMessage',
    'chat.sendReactionToMessage', 'chat.sendVCardContactMessage', 'group.iAmAdmin', 'chat.get', 'chat.getMessageById', 'chat.getMessages',
    'chat.sendFileMessage', 'chat.sendTextMessage', 'conn.genLinkDeviceCodeForPhoneNumber', 'conn.getAuthCode',
    'conn.getMyUserId', 'conn.getMyUserLid', 'conn.getStreamData', 'conn.isAuthenticated', 'conn.logout',
    'conn.needsUpdate', 'conn.refreshQR', 'contact.queryWidExists', 'group.getParticipants', 'loader.moduleRequire',
    'util.createWid',
  ];
  const isCalled = (path) => typeof attempt(() => path.split('.').reduce((part, name) => part[name], W)) === 'function';
  const isThere = (path) => attempt(() => path.split('.').reduce((part, name) => part[name], W.whatsapp)) !== null;
  const missing = (names) => names.filter((name) => !name.split('|').some(isThere));

  // Whose LID it is may be known later than the LID, and change: what is new is reported, each once.
  const MOST_UNKNOWN = 1_000;
  const MOST_PARTICIPANTS = 1_024;
  const numbers = new Map();
  const unknown = new Set();
  const isNumber = (lid, number) => {
    unknown.delete(lid);
    if (numbers.get(lid) === number) return;
    numbers.set(lid, number);
    acquainted.push([lid, number]);
  };
  const cached = (name, id) => ['lidPnCache', 'ApiContact'].reduce(
    (found, part) => found ?? attempt(() => wid(W.whatsapp[part][name](W.util.createWid(id)))), null,
  );
  const numberOf = (lid) => {
    const number = cached('getPhoneNumber', lid);
    if (number) isNumber(lid, number);
    else if (unknown.add(lid).size > MOST_UNKNOWN) unknown.delete(unknown.keys().next().value); // whoever writes now stays
    return number;
  };
  const person = (value) => {
    const id = wid(value);
    return id && id.endsWith('@lid') ? numberOf(id) ?? id : id;
  };
  const meet = (...people) => people.forEach(person);
  const met = (value) => {
    meet(value);
    return wid(value);
  };
  const lidOf = (id) => (id.endsWith('@c.us') ? cached('getCurrentLid', id) : null);

  // A text shows who is mentioned as "@" and the digits of the id in the list of mentions: wa-js looks for them
  // so. That this holds for LIDs is read in messages of WhatsApp's own apps (waha#1015, Baileys#1683); that a
  // LID's mention is not shown where the text has the number is assumed.
  const MENTION = /(?<=@)\d+\b/g;
  const digitsOf = (id) => id.split('@')[0];
  const lidsShown = (message, body) => {
    const shown = new Set(body?.match(MENTION) ?? []);
    const mentioned = shown.size ? attempt(() => message.mentionedJidList.map(wid)) ?? [] : [];
    return mentioned.filter((id) => id?.endsWith('@lid') && shown.has(digitsOf(id)));
  };

  // A group's name and participants, as far as the page has them: the server is not asked.
  const groupOf = (id) => {
    const read = (path) => attempt(() => text(path(W.whatsapp.ChatStore.get(id))));
    const name = [(chat) => chat.formattedTitle, (chat) => chat.name, (chat) => chat.groupMetadata.subject];
    const known = attempt(() => W.whatsapp.ChatStore.get(id).groupMetadata.participants.getModelsArray()) ?? [];
    const ids = known.slice(0, MOST_PARTICIPANTS).map((one) => attempt(() => wid(one.id))).filter(Boolean);
    return { group_name: name.map(read).find(Boolean) ?? null, participants: ids.map((one) => knownNumber(one) ?? one) };
  };

  // What a message has beside its text. The names are those of wa-js's MsgModel; polls and events are read in others'
  // sources (whatsapp-web.js, WPPConnect). A list may be a collection of models.
  const MOST = 20; // entries of a list
  const listOf = (value) => (Array.isArray(value) ? value : attempt(() => value.getModelsArray()) ?? []);
  const card = (text) => text?.replace(/^PHOTO[^\n]*\n(?:[ \t][^\n]*\n)*/gm, '').slice(0, 2_049);
  const CONTENT = {
    location: (it) => ({
      latitude: it.lat, longitude: it.lng, name: it.loc?.split('\n')[0], address: it.loc?.split('\n').slice(1).join('\n'),
      url: it.clientUrl, comment: it.comment, live: it.isLive === true || undefined,
    }),
    poll_creation: (it) => ({
      question: it.pollName, options: listOf(it.pollOptions).map(({ name }) => name), selectable: it.pollSelectableOptionsCount,
    }),
    vcard: (it) => ({ contacts: [{ name: it.vcardFormattedName, vcard: card(it.body) }] }),
    multi_vcard: (it) => ({
      contacts: listOf(it.vcardList).slice(0, MOST).map(({ displayName: name, vcard }) => ({ name, vcard: card(vcard) })),
    }),
    buttons_response: (it) => ({ id: it.selectedButtonId, text: it.body }),
    template_button_reply: (it) => ({ id: it.selectedId, text: it.body }),
    list_response: ({ listResponse: it }) => ({
      id: it.singleSelectReply?.selectedRowId, text: it.title, description: it.description,
    }),
    order: (it) => ({
      id: it.orderId, title: it.orderTitle, items: it.itemCount, total_1000: it.totalAmount1000,
      currency: it.totalCurrencyCode, text: it.message, seller: wid(it.sellerJid),
    }),
    product: (it) => ({
      id: it.productId, title: it.title, description: it.description, price_1000: it.priceAmount1000,
      currency: it.currencyCode, url: it.url, seller: wid(it.businessOwnerJid),
    }),
    groups_v4_invite: (it) => ({
      group: wid(it.inviteGrp), name: it.inviteGrpName, code: it.inviteCode, expires_at: it.inviteCodeExp, text: it.comment,
    }),
    event_creation: (it) => ({
      name: it.eventName, description: it.eventDescription, starts_at: it.eventStartTime, ends_at: it.eventEndTime,
      place: it.eventLocation?.name, url: it.eventJoinLink, cancelled: it.isEventCanceled === true || undefined,
    }),
    sticker: (it) => ({ animated: it.isAnimated === true }),
  };
  const PLAIN = new Set(['chat', 'image', 'video', 'audio', 'ptt', 'document']);
  const adOf = ({ ctwaContext: it }) => it && {
    title: it.title, text: it.description, url: it.sourceUrl, id: it.sourceId, app: it.sourceApp, media_url: it.mediaUrl,
  };
  const previewOf = (it) => (it.type === 'chat' && it.matchedText
    ? { title: it.title, text: it.description, url: it.canonicalUrl || it.matchedText } : null);
  const SECRET = /key|secret|hash|path|thumb|token|waveform|sidecar/i;
  const rawOf = ({ attributes }) => Object.fromEntries(Object.entries(attributes).flatMap(([name, value]) => (
    Object(value) === value || SECRET.test(name) ? [] : [[name, typeof value === 'string' ? value.slice(0, 129) : value]])));
  // What JSON can hold, no more than is kept: an odd value must cost no message. `left` levels of lists and objects.
  const plain = (value, left = 4) => {
    if (typeof value === 'string') return value.slice(0, 2_049);
    if (typeof value === 'number' || typeof value === 'boolean') return value;
    if (Object(value) !== value || !left) return null;
    if (Array.isArray(value)) return value.slice(0, MOST).map((one) => plain(one, left - 1));
    return Object.fromEntries(Object.entries(value).slice(0, 2 * MOST).map(([name, one]) => [name, plain(one, left - 1)]));
  };
  const contentOf = (message) => attempt(() => {
    const read = CONTENT[message.type];
    return plain({
      [message.type]: read ? attempt(() => read(message)) : null,
      raw: read || PLAIN.has(message.type) ? null : attempt(() => rawOf(message)),
      ad: attempt(() => adOf(message)),
      preview: attempt(() => previewOf(message)),
      seconds: attempt(() => message.duration),
      view_once: attempt(() => message.isViewOnce) === true,
      forwarded: attempt(() => message.isForwarded) === true,
    });
  });

  // a thumbnail in base64 is no text
  const isJpeg = (body) => /^\/9j\/[\w+/]{60}/.test(body);
  const project = (message) => {
    const get = (key) => attempt(() => message[key]);
    const { id } = message;
    const chat = wid(id.remote);
    // the body of a media message is its thumbnail, as is a place's
    const isText = get('mimetype') === null && get('type') !== 'location' && (PLAIN.has(get('type')) || !isJpeg(get('body')));
    const [body, caption] = [isText ? text(get('body')) || '' : '', text(get('caption'))];
    const mentioned = lidsShown(message, body || caption);
    meet(chat, id.participant, ...mentioned);
    return {
      id: text(id),
      chat,
      from_me: Boolean(id.fromMe),
      sender: person(get('author')) || person(get('from')) || chat,
      to: wid(get('to')) || '',
      body,
      timestamp: Number(get('t')) || 0,
      kind: text(get('type')) || 'unknown',
      subtype: text(get('subtype')),
      sender_name: text(get('notifyName')),
      ...(chat.endsWith('@g.us') ? groupOf(id.remote) : {}),
      caption,
      mimetype: text(get('mimetype')),
      filename: text(get('filename')),
      size: Number(get('size')) || null,
      quoted_id: text(get('quotedStanzaID')),
      mentioned,
      content: contentOf(message),
    };
  };

  // What is left of something that cannot be read as what it is: its plain values.
  const remains = (it, error) => {
    const plain = Object.entries(attempt(() => it.attributes) ?? it ?? {}).filter(([, value]) => Object(value) !== value);
    const raw = attempt(() => JSON.stringify(Object.fromEntries(plain)).slice(0, LONGEST));
    const id = attempt(() => it.id);
    return { error: `${error}`, id: text(id), chat: attempt(() => wid(id.remote)), raw };
  };
  const readable = (it, read) => { try { return read(it); } catch (error) { return remains(it, error); } };
  const listen = (event, kind, read) => W.on(event, (it) => {
    const found = readable(it, read);
    if (found) report(kind, found);
  });

  // one version of the page has seconds where another has milliseconds
  const seconds = (value) => Math.floor(value > 1e11 ? value / 1000 : value || Date.now() / 1000);

  const outcome = async (sent) => {
    const result = await sent.sendMsgResult;
    return {
      ack: attempt(() => sent.ack),
      result: attempt(() => text(result.messageSendResult)) ?? text(result),
      at: attempt(() => Number(result.t)),
    };
  };

  // Under which id WhatsApp has the chat of a number now: that of its LID, where it has one.
  const resolve = async (chat) => {
    if (!chat.endsWith('@c.us') && !chat.endsWith('@lid')) return chat;
    const found = wid((await W.chat.find(chat)).id);
    if (chat.endsWith('@c.us') && found.endsWith('@lid')) isNumber(found, chat);
    introduce();
    return found;
  };

  // A message's id begins with its chat's; in a group wa-js finds receipts only under our own LID.
  const myLid = () => attempt(() => wid(W.conn.getMyUserLid()));
  const isMe = (id) => [myLid(), attempt(() => wid(W.conn.getMyUserId()))].includes(wid(id));
  const partsOf = (messageId) => /^(true|false)_([^_]+)_(.+?)(?:_([^_]+@[a-z.]+))?$/s.exec(messageId)?.slice(1) ?? [];
  const idIn = (chat, messageId) => {
    const stem = partsOf(messageId)[2];
    return ['true', chat, stem, ...(chat.endsWith('@g.us') && myLid() ? [myLid()] : [])].join('_');
  };

  // Nothing has left where that fails: a passing failure costs a moment, and no message.
  const OPENED_AGAIN = 250; // ms
  const opened = (chat) => resolve(chat)
    .catch(() => new Promise((done) => setTimeout(done, OPENED_AGAIN)).then(() => resolve(chat)))
    .catch((error) => ({ refused: 'no_chat', why: text(`${error}`) }));

  // wa-js sees before it transmits that a chat has another id meanwhile; then, and only then, once more.
  const WRONG_CHAT = 'message_key_remote_id_is_not_same_of_chat';
  const inItsChat = async (chat, { messageId, ...options }, transmit) => {
    for (let isFirst = true; ; isFirst = false) {
      const target = await opened(chat);
      if (target.refused) return target;
      try {
        return await transmit(target, { ...options, messageId: idIn(target, messageId) });
      } catch (error) {
        if (!isFirst || error?.code !== WRONG_CHAT) throw error;
      }
    }
  };

  // All ids that a message may have where its chat is one of these.
  const variants = (messageId, chats) => {
    const [fromMe, , stem, author] = partsOf(messageId);
    if (!stem) return [messageId];
    const authors = [author, author && lidOf(author), author && person(author)];
    if (fromMe === 'true') authors.push(myLid(), null);
    const ids = chats.flatMap((chat) => authors.map((one) => [fromMe, chat, stem, one].filter(Boolean).join('_')));
    return [...new Set([messageId, ...ids])];
  };

  // The message, in whichever chat it is; null: it is in none. Throws where one could not be read.
  const find = async (messageId, ...aliases) => {
    const chat = partsOf(messageId)[1] ?? '';
    const known = [chat, ...aliases, lidOf(chat), person(chat)].filter(Boolean);
    const failures = [];
    const among = async (chats) => {
      for (const id of variants(messageId, chats)) {
        const found = await W.chat.getMessageById(id).catch((error) => {
          if (!NOT_THERE.has(error?.code)) failures.push(error);
          return null;
        });
        if (found) return found;
      }
      return null;
    };
    const message = (await among(known)) ?? (await among([await resolve(chat)]));
    if (!message && failures.length) throw failures[0];
    return message;
  };

  const quotable = async (chat, messageId) => {
    const target = await resolve(chat).catch(() => chat);
    const message = await find(messageId, ...(partsOf(messageId)[1]?.endsWith('@g.us') ? [] : [chat, target]));
    const isHere = message && (wid(message.id.remote) === target || person(message.id.remote) === person(chat));
    return isHere ? message : null;
  };

  // WhatsApp's 429: an error of its own kind for pairing codes (wwebjs#3763), assumed for numbers.
  const isTooOften = (error) =>
    /\b429\b|rate-?overlimit/i.test(`${error?.status} ${error} ${attempt(() => JSON.stringify(error))}`);
  // Why a number must not be written to; null: it may. Only a clear no counts: a server that fails says nothing.
  const keepsBack = async (chat, absent) => {
    const names = [chat, lidOf(chat)].filter(Boolean);
    const isKnown = (id) => W.chat.get(id) || W.whatsapp.ContactStore.get(W.util.createWid(id));
    if (!chat.endsWith('@c.us') || names.some((id) => attempt(() => isKnown(id)))) return null;
    if (absent) return 'no_whatsapp';
    try {
      const exists = Boolean(await W.whatsapp.functions.queryWidExists(W.util.createWid(chat)));
      report('people', { asked: { number: chat, exists } });
      return exists ? null : 'no_whatsapp';
    } catch (error) {
      return isTooOften(error) ? 'asked_too_often' : null;
    }
  };

  // What a chat is before a message to it. First: nobody has written there, and the server has taken
  // nothing for it: a message that it refused makes no acquaintance. That WhatsApp takes those who have
  // answered for known is read (waha#2185).
  const NOTES = new Set(['e2e_notification', 'notification', 'notification_template', 'gp2', 'protocol', 'call_log']);
  const NEWEST = 20;
  const READ_DEADLINE = 1_000; // ms; what takes longer must not keep a message back
  const byMessages = (messages) => {
    const written = messages.filter((message) => !NOTES.has(message.type));
    if (written.some((message) => !message.id.fromMe)) return 'answered';
    return written.some((message) => message.ack >= 1) ? 'other' : 'first';
  };
  const chatOf = (chat) => (
    [chat, lidOf(chat), person(chat)].filter(Boolean).map((id) => attempt(() => W.chat.get(id))).find(Boolean));
  const chatStateOf = async (chat) => {
    if (!/@(c\.us|lid)$/.test(chat)) return 'other';
    const found = chatOf(chat);
    if (!found) return 'first';
    const loaded = byMessages(attempt(() => found.msgs.getModelsArray()) ?? []);
    if (loaded !== 'first' || !found.lastReceivedKey) return loaded;
    const read = W.chat.getMessages(found.id, { count: NEWEST, direction: 'before' }).then(byMessages, () => 'other');
    return within(READ_DEADLINE, read, 'other');
  };

  const FACT_DEADLINE = 5_000; // ms; a database that hangs must not keep the other facts back

  // Until when WhatsApp locks first contacts, in unix seconds; 0: they are not locked, null: this page does
  // not say. Read: where it notes that, and its end in ms.
  const lockedUntil = async () => {
    const { REACHOUT_TIMELOCK_IDB_KEY: key } = W.loader.moduleRequire('WAWebReachoutTimelockUtils');
    const noted = await W.loader.moduleRequire('WAWebUserPrefsIndexedDBStorage').userPrefsIdb.get(key);
    const ends = Math.floor(Number(noted?.time_enforcement_ends ?? 0) / 1000);
    return ends * 1000 > Date.now() ? ends : 0;
  };

  // What wa-js does not see before it transmits: why the message must not go out, else its text and options.
  const prepare = async (chat, body, { quotedMsg, firstContactCheck, absent, hold, ...options }) => {
    const state = await chatStateOf(chat);
    say('standing', { id: options.messageId, standing: state });
    if (hold && state === 'first') return { refused: 'held' };
    if (firstContactCheck) {
      const refused = await within(firstContactCheck, keepsBack(chat, absent));
      if (refused) return { refused };
    }
    if (quotedMsg) {
      options.quotedMsg = await quotable(chat, quotedMsg);
      if (!options.quotedMsg) return { refused: 'not_in_chat' };
    }
    return addressed(chat, body, options);
  };

  const knownNumber = (id) => (id.endsWith('@c.us') ? id : cached('getPhoneNumber', id) ?? numbers.get(id) ?? null);

  // The participants of a group, by every id that they are known by; null: they cannot be read.
  const participantsOf = async (group) => {
    try {
      await W.chat.find(group); // wa-js knows the participants of a chat that it has
      const ids = (await W.group.getParticipants(group)).map(({ id }) => wid(id));
      return new Map([...ids.map((id) => [knownNumber(id), id]), ...ids.map((id) => [id, id])]);
    } catch {
      return null;
    }
  };

  // To a group a mention goes under the id by which the group has the person, and the text shows that one. Read:
  // a list of mentions alone shows nothing (waha#2230), and others do the same (nanoclaw#385, openclaw#56863).
  // Assumed: in a group of LIDs the number's mention addresses nobody. Who is only shown in the text is found as
  // wa-js does it, by the number too. Who is not of the group is passed as given, as are all where the participants
  // cannot be read: wa-js must not look for them there, as it would throw. The server is asked for nobody's LID.
  const addressed = async (chat, body, { mentionedList, aliases = {}, ...options }) => {
    const shown = [...new Set(body?.match(MENTION) ?? [])];
    const named = (list) => ({ ...options, mentionedList: list });
    if (!chat.endsWith('@g.us') || !(mentionedList ?? shown).length) return { body, options: named(mentionedList) };
    const participants = await participantsOf(chat);
    if (!participants) return { body, options: { ...named(mentionedList), detectMentioned: Boolean(mentionedList) } };
    const digits = new Map();
    const find = (given) => {
      const number = knownNumber(given);
      const isTheirs = (id) => !number || [number, null].includes(knownNumber(id)); // the page knows better
      const known = [given, number, lidOf(given), ...(aliases[given] ?? []).filter(isTheirs)].filter(Boolean);
      const id = known.map((one) => participants.get(one)).find(Boolean);
      if (id) for (const one of known) digits.set(digitsOf(one), digitsOf(id));
      return id;
    };
    const found = mentionedList
      ? mentionedList.map((given) => find(given) ?? given)
      : shown.map((one) => find(`${one}@lid`) ?? find(`${one}@c.us`)).filter(Boolean);
    return {
      body: body?.replace(MENTION, (one) => digits.get(one) ?? one),
      options: named([...new Set(found)]),
    };
  };

  // Neither text nor file: how wa-js sends it.
  const CONTENTS = {
    location: (chat, { latitude: lat, longitude: lng, ...place }, own) => W.chat.sendLocationMessage(chat, { lat, lng, ...place, ...own }),
    contact: (chat, { contacts }, own) => (
      W.chat.sendVCardContactMessage(chat, contacts.map(({ name, phone }) => ({ id: `${phone}@c.us`, name })), own)),
    poll: (chat, { question, options, selectable }, own) => (
      W.chat.sendCreatePollMessage(chat, question, options, { selectableCount: selectable, ...own })),
  };

  // What changes a message. It has no id that could be looked up, and wa-js does not say of all that the server has
  // it: that the page did it, and threw nothing, is its answer.
  const acted = (sent) => {
    const result = text(sent?.messageSendResult) ?? 'OK';
    return { result, ack: ['OK', 'ERROR_NETWORK'].includes(result) ? null : -1 };
  };
  const ACTIONS = {
    reaction: async (message, written) => acted((await W.chat.sendReactionToMessage(String(message.id), written)).sendMsgResult),
    edit: async (message, written) => {
      const { body, options } = await addressed(wid(message.id.remote), written, {});
      try {
        const { sendMsgResult } = await W.chat.editMessage(String(message.id), body, { linkPreview: false, markIsRead: false, ...options });
        return acted(sendMsgResult);
      } catch (error) {
        if (error?.code === 'edit_message_error') return { refused: 'not_editable' }; // before anything left
        throw error;
      }
    },
    // wa-js asks these two; where neither holds, it deletes the message for us alone, and says OK
    revoke: async (message) => {
      const chat = wid(message.id.remote);
      if (message.type === 'revoked') return { refused: 'revoked' };
      const isOurs = attempt(() => message.senderObj.isMe) === true;
      const isAdmin = chat.endsWith('@g.us') && await Promise.resolve(W.group.iAmAdmin(chat)).catch(() => false);
      if (!isOurs && !isAdmin) return { refused: 'not_ours' };
      const { isRevoked, sendMsgResult } = await W.chat.deleteMessage(chat, String(message.id), false, true);
      return acted({ messageSendResult: isRevoked ? sendMsgResult : 'ERROR_UNKNOWN' });
    },
  };
  const IN_CHAT = {
    seen: (chat) => W.chat.markIsRead(chat),
    typing: (chat) => W.chat.markIsComposing(chat),
    recording: (chat) => W.chat.markIsRecording(chat),
    paused: (chat) => W.chat.markIsPaused(chat),
  };

  const base64 = (blob) => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = () => reject(reader.error);
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.readAsDataURL(blob);
  });

  // A linking that WhatsApp confirms with the account's passkey. Read in WhatsApp Web's published source: it has an
  // event for each step but those that fail in the browser, and the same test ids in each variant. So its screen is
  // read as well: that also shows it where the events cannot be had under this name.
  const onScreen = (name) => document.querySelector(`[data-testid="shortcake_${name}"]`);
  const dashed = (code) => text(code)?.replace(/[\s-]/g, '').replace(/^(.{4})(.{4})$/, '$1-$2') ?? null;
  const passkeyShown = () => {
    if (!document.querySelector('[data-testid^="shortcake_"]')) return null;
    const code = onScreen('verification_code_display');
    if (code) {
      const unattended = onScreen('code_confirm_button')?.disabled !== false; // without one nobody can confirm it
      return { event: 'code', code: dashed(code.textContent), unattended };
    }
    if (onScreen('waiting_for_phone_card')) return { event: 'sent' };
    if (onScreen('passkey_continue_button')?.disabled) return { event: 'asked' }; // the last alert may still be there
    return { event: onScreen('passkey_prompt_card')?.querySelector('[role="alert"]') ? 'error' : 'offered' };
  };
  let hearsLinking = false;
  const followLinking = () => {
    const { WAWebLinkDeviceEvents: events } = W.loader.moduleRequire('WAWebLinkDeviceEvents');
    const on = (name, read) => events.on(`link_device_events:${name}`, (...said) => report('passkey', read(...said)));
    on('passkey_prologue_request', () => ({ event: 'offered' }));
    on('shortcake_prologue_sent', () => ({ event: 'sent' }));
    on('shortcake_verification_code_ready', (code, unattended) => (
      { event: 'code', code: dashed(code), unattended: unattended === true }));
    on('shortcake_error', (error) => ({ event: 'error', error: text(error) }));
    return true;
  };
  const ofPasskey = () => {
    hearsLinking ||= attempt(followLinking) === true;
    return attempt(passkeyShown);
  };
  // a code that is asked for ends it, and the prompt would cover that code
  const leavePasskey = () => onScreen('cancel_button')?.click();

  // the file that the browser is to save: its url holds it in memory, also when it came too late
  let saved = {};
  const discardFile = () => {
    if (saved.url) URL.revokeObjectURL(saved.url);
    saved = {};
  };

  window.__waguard = {
    wpp: W,
    lent: { attempt, isTooOften, knownNumber, lidOf, person, report, text, wellFormed, wid }, // to `asking.js`
    unresolved() {
      const isSignedIn = attempt(() => W.conn.isAuthenticated()) === true;
      return {
        needed: missing(isSignedIn ? [...LINKING, ...MESSAGING] : LINKING),
        further: missing(FURTHER),
        lacking: CALLED.filter((path) => !isCalled(path)).map((path) => `WPP.${path}`),
      };
    },
    async facts() {
      const stream = attempt(() => W.conn.getStreamData()) || {};
      const authenticated = attempt(() => W.conn.isAuthenticated());
      const me = authenticated ? wid(attempt(() => W.conn.getMyUserId())) : null;
      if (me && myLid()) isNumber(myLid(), me);
      meet(...unknown);
      introduce();
      const code = authenticated === false ? await within(FACT_DEADLINE, W.conn.getAuthCode().catch(() => null)) : null;
      return {
        // before this wa-js has not wired its events: a message or a logout would be missed
        full: Boolean(W.isFullReady),
        authenticated,
        mode: text(stream.mode),
        info: text(stream.info),
        socket: text(attempt(() => W.whatsapp.Socket.state)),
        code: text(code && code.fullCode),
        update: attempt(() => W.conn.needsUpdate()) === true,
        covered: document.querySelector('[aria-modal="true"]') !== null,
        locked: authenticated ? await within(FACT_DEADLINE, lockedUntil().catch(() => null)) : null,
        me,
        passkey: authenticated ? null : ofPasskey(),
      };
    },
    async sendText(chat, written, given) {
      const { refused, body, options } = await prepare(chat, written, given);
      return refused ? { refused } : inItsChat(chat, options, async (target, own) => outcome(
        await W.chat.sendTextMessage(target, body, { waitForAck: true, linkPreview: false, markIsRead: false, ...own }),
      ));
    },
    // `content`: a data: URL, or a File, which Chromium knows by its extension only
    async sendFile(chat, content, { caption: written, ...given }) {
      const file = content instanceof Blob
        ? new File([content], given.filename ?? 'file', { type: given.mimetype }) : content;
      const { refused, body: caption, options } = await prepare(chat, written, given);
      return refused ? { refused } : inItsChat(chat, options, async (target, own) => outcome(
        await W.chat.sendFileMessage(target, file, { waitForAck: true, markIsRead: false, caption, ...own }),
      ));
    },
    async sendContent(chat, kind, content, given) {
      const { refused, options } = await prepare(chat, null, given);
      return refused ? { refused } : inItsChat(chat, options, async (target, own) => outcome(
        await CONTENTS[kind](target, content, { waitForAck: true, markIsRead: false, ...own }),
      ));
    },
    async act(kind, messageId, aliases, { text: written = '' }) {
      let why = null; // nothing has left
      const message = await find(messageId, ...aliases).catch((error) => { why = text(`${error}`); });
      return message ? ACTIONS[kind](message, written) : { refused: 'no_target', why };
    },
    async inChat(chat, state) {
      const found = chatOf(chat);
      if (!found) return { refused: 'no_chat' };
      await IN_CHAT[state](wid(found.id));
      return {};
    },
    // `aliases`: other ids that its chat may have
    async ackOf(messageId, aliases) {
      const message = await find(messageId, ...aliases);
      return message ? attempt(() => message.ack) : null;
    },
    // Each chat's id and the time of its newest message: 0 has none, null cannot be read.
    chats() {
      const chats = W.whatsapp.ChatStore.getModelsArray();
      attempt(() => meet(...chats.map((chat) => attempt(() => chat.id))));
      introduce();
      return { chats: chats.map((chat) => [attempt(() => wid(chat.id)), attempt(() => Number(chat.t ?? 0))]) };
    },
    // Up to `count` messages of a chat: those before one of them, or the newest. Messages that were
    // stored while nobody listened raise no event, and are found only so.
    async history(listed, place, count) {
      // a chat may get another id between its listing and its reading
      const chat = W.whatsapp.ChatStore.get(listed) ? listed : await resolve(numbers.get(listed) ?? listed);
      const before = place?.replace(`_${listed}_`, `_${chat}_`);
      const messages = await W.chat.getMessages(chat, { count, direction: 'before', ...(before && { id: before }) });
      const newest = before ? null : text(W.whatsapp.ChatStore.get(chat)?.lastReceivedKey);
      if (newest && !messages.some((message) => String(message.id) === newest)) {
        const last = await W.chat.getMessageById(newest).catch(() => null); // wa-js leaves out one that is not loaded
        if (last) messages.push(last);
      }
      const found = messages.map((message) => readable(message, project));
      introduce();
      return { messages: found };
    },
    // One message by its id, in whichever chat it is; null: it is in none. `aliases` as above
    async message(messageId, aliases) {
      const message = await find(messageId, ...aliases);
      const found = message ? readable(message, project) : null;
      introduce();
      return found;
    },
    // its sender says its size, and Chromium ends itself rather than send us 100 MB at once: its size where it is larger
    async media(messageId, limit) {
      const message = await find(messageId); // its chat may have another id meanwhile
      const file = await W.chat.downloadMedia(String(message?.id ?? messageId));
      return file.size > limit ? file.size : base64(file);
    },
    // deletes it for us alone
    async forget(messageId) {
      const message = await find(messageId);
      if (message) await W.chat.deleteMessage(message.id.remote, String(message.id));
      return true;
    },
    // too large for the way above: the browser saves it by itself, out of the page
    async fileUrl(messageId, limit) {
      discardFile();
      const mine = {};
      saved = mine;
      const message = await find(messageId);
      const file = await W.chat.downloadMedia(String(message?.id ?? messageId));
      if (saved !== mine) throw 'nobody waits for the file any more';
      if (file.size > limit) throw `the file has ${file.size} bytes, the limit is ${limit}`;
      mine.url = URL.createObjectURL(file);
      return mine.url;
    },
    saveFile(url) {
      Object.assign(document.createElement('a'), { href: url, download: 'file' }).click();
    },
    discardFile,
    async exists(chat) {
      return Boolean(await W.contact.queryWidExists(chat));
    },
    pairingCode(phone) {
      leavePasskey();
      return W.conn.genLinkDeviceCodeForPhoneNumber(phone).catch((error) => {
        if (isTooOften(error)) return { refused: 'too_often' };
        throw error;
      });
    },
    refreshQr() {
      leavePasskey();
      return W.conn.refreshQR();
    },
    unlink: () => W.conn.logout(),
    takeover: () => W.whatsapp.Socket.takeover(),
  };

  for (const name of ['auth_code_change', 'authenticated', 'main_ready', 'require_auth', 'stream_mode_changed',
    'stream_info_changed', 'online', 'needs_update']) {
    W.on(`conn.${name}`, () => report('changed', name));
  }
  W.on('conn.qrcode_idle', () => report('qr_idle', null));
  W.on('conn.logout', () => report('logout', null));
  W.on('conn.logout_reason', (reason) => report('logout_reason', text(reason)));
  // also what is sent from here, and what the account's other devices send
  listen('chat.new_message', 'message', project);
  listen('chat.msg_edited', 'edit', ({ msg }) => {
    if (msg.id.fromMe || !msg.latestEditMsgKey) return null;
    const { id, chat, sender, caption, body, mentioned } = project(msg);
    return {
      id: String(msg.latestEditMsgKey), message_id: id, chat, sender, body: caption || body, mentioned,
      timestamp: seconds(Number(msg.latestEditSenderTimestampMs)),
    };
  });
  listen('chat.msg_revoke', 'revoke', ({ id, refId, author, from }) => (id.fromMe || !refId ? null : {
    id: String(id), message_id: String(refId), chat: met(id.remote), sender: person(author) || person(from),
    timestamp: seconds(0),
  }));
  listen('chat.new_reaction', 'reaction', ({ id, msgId, reactionText, sender, timestamp }) => (id.fromMe ? null : {
    id: String(id), message_id: String(msgId), chat: met(msgId.remote), sender: person(sender),
    text: text(reactionText) || '', timestamp: seconds(Number(timestamp)),
  }));
  // wa-js names no vote of its own: what somebody chose at that moment is one, and their next vote takes its place
  const voteId = (chat, poll, sender, at) => (
    ['false', chat, `${partsOf(poll)[2]}.${at}`, ...(chat.endsWith('@g.us') ? [sender] : [])].join('_'));
  listen('chat.poll_response', 'message', ({ msgId, chatId, selectedOptions, sender, timestamp }) => (isMe(sender) ? null : {
    id: voteId(met(chatId), String(msgId), wid(sender), Number(timestamp)), chat: met(chatId), sender: person(sender),
    body: '', kind: 'poll_update', timestamp: seconds(Number(timestamp)), from_me: false,
    quoted_id: String(msgId), content: plain({ poll_update: { options: selectedOptions.filter(Boolean).map(({ name }) => name) } }),
  }));
  listen('call.incoming_call', 'call', ({ id, sender, isVideo, isGroup, offerTime }) => ({
    id: String(id), chat: met(sender), sender: person(sender), video: Boolean(isVideo), group: Boolean(isGroup),
    timestamp: seconds(Number(offerTime)),
  }));
  listen('chat.msg_ack_change', 'ack', ({ ack, chat, ids }) => ({ ack, chat: met(chat), ids: ids.map(String) }));
  return true;
})()
