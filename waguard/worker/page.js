// Evaluated in WhatsApp's page after wa-js. It forwards what happens to the binding `waguardTell`
// as JSON, and gives the worker the few calls it makes. It owns no state that a reload would lose.
(() => {
  const W = window.WPP;
  if (!W || !W.conn) return false;
  if (window.__waguard && window.__waguard.wpp === W) return true;
  const NOT_THERE = new Set(['msg_not_found', 'chat_not_found']);
  const attempt = (read) => { try { return read() ?? null; } catch { return null; } };
  // half a surrogate pair (a cut emoji) would pass JSON, and nothing after it
  const wellFormed = (_, value) => (typeof value === 'string' ? value.toWellFormed() : value);
  const tell = (kind, data) => window.waguardTell(JSON.stringify({ kind, data }, wellFormed));
  // twice what is kept of any text: what is longer is seen to be, and fits through the pipe
  const LONGEST = 131_074;
  const text = (value) => (value === null || value === undefined ? null : String(value).slice(0, LONGEST));
  const wid = (value) => text(value && value._serialized ? value._serialized : value);

  // the application knows people by their phone numbers
  const person = (value) => {
    const id = wid(value);
    if (!id || !id.endsWith('@lid')) return id;
    return attempt(() => wid(W.whatsapp.lidPnCache.getPhoneNumber(value))) || id;
  };

  const project = (message) => {
    const get = (key) => attempt(() => message[key]);
    const { id } = message;
    const chat = wid(id.remote);
    const media = get('mimetype') !== null;
    return {
      id: text(id),
      chat,
      from_me: Boolean(id.fromMe),
      sender: person(get('author')) || person(get('from')) || chat,
      to: wid(get('to')) || '',
      // the body of a media message is its thumbnail
      body: media ? '' : text(get('body')) || '',
      timestamp: Number(get('t')) || 0,
      kind: text(get('type')) || 'unknown',
      sender_name: text(get('notifyName')),
      group_name: chat.endsWith('@g.us') ? attempt(() => text(W.whatsapp.ChatStore.get(id.remote).formattedTitle)) : null,
      caption: text(get('caption')),
      mimetype: text(get('mimetype')),
      filename: text(get('filename')),
      size: Number(get('size')) || null,
      quoted_id: text(get('quotedStanzaID')),
    };
  };

  // What is left of something that cannot be read as what it is: its plain values.
  const remains = (it, error) => {
    const plain = Object.entries(attempt(() => it.attributes) ?? it ?? {}).filter(([, value]) => Object(value) !== value);
    const raw = attempt(() => JSON.stringify(Object.fromEntries(plain)).slice(0, LONGEST));
    const id = attempt(() => it.id);
    return { error: `${error}`, id: text(id), chat: attempt(() => wid(id.remote)), raw };
  };
  const readable = (it, look) => { try { return look(it); } catch (error) { return remains(it, error); } };
  const listen = (event, kind, look) => W.on(event, (it) => {
    const told = readable(it, look);
    if (told) tell(kind, told);
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

  const quotable = async (chat, messageId) => {
    const message = await W.chat.getMessageById(messageId).catch((error) => {
      if (['msg_not_found', 'chat_not_found'].includes(error.code)) return null;
      throw error;
    });
    const isHere = message && person(message.id.remote) === person(W.util.createWid(chat));
    return isHere ? message : null;
  };

  // Only a clear no counts: a server that fails says nothing, which wa-js shows as a no.
  const hasNoWhatsApp = async (chat) => {
    if (!chat.endsWith('@c.us') || W.chat.get(chat) || (await W.contact.queryWidExists(chat))) return false;
    return !(await W.whatsapp.functions.queryWidExists(W.util.createWid(chat)));
  };

  // What wa-js does not see before it transmits: why the message must not go out, else its options.
  const prepare = async (chat, { quotedMsg, firstContactCheck, ...options }) => {
    if (quotedMsg) {
      options.quotedMsg = await quotable(chat, quotedMsg);
      if (!options.quotedMsg) return { refused: 'not_in_chat' };
    }
    if (firstContactCheck) {
      const patience = new Promise((resolve) => setTimeout(resolve, firstContactCheck, false));
      if (await Promise.race([hasNoWhatsApp(chat).catch(() => false), patience])) return { refused: 'no_whatsapp' };
    }
    return { options };
  };

  const base64 = (blob) => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = () => reject(reader.error);
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.readAsDataURL(blob);
  });

  window.__waguard = {
    wpp: W,
    async facts() {
      const stream = attempt(() => W.conn.getStreamData()) || {};
      const authenticated = attempt(() => W.conn.isAuthenticated());
      const code = authenticated === false ? await W.conn.getAuthCode().catch(() => null) : null;
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
        me: authenticated ? wid(attempt(() => W.conn.getMyUserId())) : null,
      };
    },
    async sendText(chat, body, given) {
      const { refused, options } = await prepare(chat, given);
      return refused ? { refused } : outcome(await W.chat.sendTextMessage(chat, body, {
        waitForAck: true, linkPreview: false, markIsRead: false, ...options,
      }));
    },
    async sendFile(chat, dataUrl, given) {
      const { refused, options } = await prepare(chat, given);
      return refused ? { refused } : outcome(await W.chat.sendFileMessage(chat, dataUrl, {
        waitForAck: true, markIsRead: false, ...options,
      }));
    },
    async ackOf(messageId) {
      const message = await W.chat.getMessageById(messageId).catch((error) => {
        if (NOT_THERE.has(error?.code)) return null;
        throw error; // it is not known whether it is there
      });
      return message ? attempt(() => message.ack) : null;
    },
    // Each chat's id and the time of its newest message: 0 has none, null cannot be read.
    chats: () => ({
      chats: W.whatsapp.ChatStore.getModelsArray().map((chat) => [
        attempt(() => wid(chat.id)), attempt(() => Number(chat.t ?? 0)),
      ]),
    }),
    // Up to `count` messages of a chat: those before one of them, or the newest. Messages that were
    // stored while nobody listened raise no event, and are found only so.
    async history(chat, before, count) {
      const messages = await W.chat.getMessages(chat, { count, direction: 'before', ...(before && { id: before }) });
      const newest = before ? null : text(W.whatsapp.ChatStore.get(chat)?.lastReceivedKey);
      if (newest && !messages.some((message) => String(message.id) === newest)) {
        const last = await W.chat.getMessageById(newest).catch(() => null); // wa-js leaves out one that is not loaded
        if (last) messages.push(last);
      }
      return { messages: messages.map((message) => readable(message, project)) };
    },
    // its sender says its size, and Chromium ends itself rather than send us 100 MB at once
    async media(messageId, limit) {
      const file = await W.chat.downloadMedia(messageId);
      if (file.size > limit) throw `the file has ${file.size} bytes, the limit is ${limit}`;
      return base64(file);
    },
    async exists(chat) {
      return Boolean(await W.contact.queryWidExists(chat));
    },
    pairingCode: (phone) => W.conn.genLinkDeviceCodeForPhoneNumber(phone),
    refreshQr: () => W.conn.refreshQR(),
    unlink: () => W.conn.logout(),
    takeover: () => W.whatsapp.Socket.takeover(),
  };

  for (const name of ['auth_code_change', 'authenticated', 'main_ready', 'require_auth', 'stream_mode_changed',
    'stream_info_changed', 'online', 'needs_update']) {
    W.on(`conn.${name}`, () => tell('changed', name));
  }
  W.on('conn.qrcode_idle', () => tell('qr_idle', null));
  W.on('conn.logout', () => tell('logout', null));
  W.on('conn.logout_reason', (reason) => tell('logout_reason', text(reason)));
  // also what is sent from here, and what the account's other devices send
  listen('chat.new_message', 'message', project);
  listen('chat.msg_edited', 'edit', ({ msg }) => {
    if (msg.id.fromMe || !msg.latestEditMsgKey) return null;
    const { id, chat, sender, caption, body } = project(msg);
    return {
      id: String(msg.latestEditMsgKey), message_id: id, chat, sender, body: caption || body,
      timestamp: seconds(Number(msg.latestEditSenderTimestampMs)),
    };
  });
  listen('chat.msg_revoke', 'revoke', ({ id, refId, author, from }) => (id.fromMe || !refId ? null : {
    id: String(id), message_id: String(refId), chat: wid(id.remote), sender: person(author) || person(from),
    timestamp: seconds(0),
  }));
  listen('chat.new_reaction', 'reaction', ({ id, msgId, reactionText, sender, timestamp }) => (id.fromMe ? null : {
    id: String(id), message_id: String(msgId), chat: wid(msgId.remote), sender: person(sender),
    text: text(reactionText) || '', timestamp: seconds(Number(timestamp)),
  }));
  listen('call.incoming_call', 'call', ({ id, sender, isVideo, isGroup, offerTime }) => ({
    id: String(id), chat: wid(sender), sender: person(sender), video: Boolean(isVideo), group: Boolean(isGroup),
    timestamp: seconds(Number(offerTime)),
  }));
  listen('chat.msg_ack_change', 'ack', ({ ack, chat, ids }) => ({ ack, chat: wid(chat), ids: ids.map(String) }));
  return true;
})()
