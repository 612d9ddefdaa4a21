// What changes a message, and what is shown in a chat. wa-js hears of no server's answer to an edit or a revocation;
// whether the real page waits for one is assumed: for an edit and a reaction, not for a revocation.
(() => {
  'use strict';
  const { define } = window.__standin;
  const EDITABLE_FOR = 15 * 60; // seconds
  const ask = (kind, msg, text) => require('WAWebStandinLink').link.request('act', { kind, target: String(msg.id), text });
  const isRecent = (msg) => Date.now() / 1000 - msg.t < EDITABLE_FOR;

  define('WAWebSendReactionMsgAction', (exports) => {
    exports.sendReactionToMsg = async (msg, text) => ({ messageSendResult: (await ask('reaction', msg, text)).result });
  });

  define('WAWebMsgType', (exports) => {
    const types = ['revoked', 'call_log', 'order'];
    exports.MSG_TYPE = Object.fromEntries(types.map((it) => [it.toUpperCase(), it]));
  });

  define('WAWebMsgActionCapability', (exports) => {
    exports.canEditText = (msg) => msg.id.fromMe && msg.type === 'chat' && isRecent(msg);
    exports.canEditCaption = (msg) => msg.id.fromMe && Boolean(msg.caption) && isRecent(msg);
  });

  define('WAWebSendMessageEditAction', (exports, require) => {
    exports.addAndSendMessageEdit = async (msg, edit) => {
      const { result } = await ask('edit', msg, edit.body);
      if (result !== 'OK') throw new Error(result);
      const changes = { [msg.filehash ? 'caption' : 'body']: edit.body, latestEditMsgKey: edit.id };
      await require('WAWebStandinMessages').update(String(msg.id), { ...changes, latestEditMsgKey: String(edit.id) });
      msg.set(changes);
    };
  });

  define('WAWebStandinDeletion', (exports, require) => {
    const messages = require('WAWebStandinMessages');
    exports.revoke = async (list) => {
      for (const msg of list) {
        msg.set({ type: 'revoked', body: '', caption: '' });
        await messages.update(String(msg.id), { type: 'revoked', body: '', caption: '' });
        ask('revoke', msg, '').catch(reportError);
      }
    };
    exports.remove = async (chat, list) => {
      for (const msg of list) {
        chat.msgs.remove(msg.id);
        require('WAWebMsgCollection').MsgCollection.remove(msg.id);
        await messages.remove(String(msg.id));
      }
    };
  });

  define('WAWebPresenceChatAction', (exports, require) => {
    const show = (text) => async (chat) => (
      require('WAWebStandinLink').link.send('act', { kind: 'chatstate', target: String(chat.id), text }));
    Object.assign(exports, { markComposing: show('typing'), markRecording: show('recording'), markPaused: show('paused') });
  });

  define('WAWebVcardUtils', (exports) => {
    exports.vcardFromContactModel = (contact) => {
      const name = contact.formattedName ?? contact.name ?? contact.pushname;
      const phone = contact.id.user;
      const lines = ['VERSION:3.0', `FN:${name}`, `TEL;type=CELL;waid=${phone}:+${phone}`];
      return { displayName: name, vcard: ['BEGIN:VCARD', ...lines, 'END:VCARD'].join('\n') };
    };
  });
})();
