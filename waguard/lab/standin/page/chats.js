// Models and collections of chats, contacts and messages.
(() => {
  'use strict';
  const { CONTENT, define, config } = window.__standin;

  define('WAWebAckConstants', (exports) => {
    exports.ACK = { EXPIRED: -2, FAILED: -1, CLOCK: 0, SENT: 1, RECEIVED: 2, READ: 3, PLAYED: 4, PEER: 5 };
    exports.ACK_STRING = { SENDER: 'sender', DELIVERY: 'delivery', READ: 'read', PLAYED: 'played', INACTIVE: 'inactive' };
    exports.EDIT_ATTR = { SENDER_REVOKE: 7, ADMIN_REVOKE: 8 };
  });

  define('WAWebSendMsgResult', (exports) => {
    const results = ['OK', 'ERROR_NETWORK', 'ERROR_EXPIRED', 'ERROR_CANCELLED', 'ERROR_UPLOAD', 'ERROR_UNKNOWN'];
    exports.SendMsgResult = Object.fromEntries(results.map((r) => [r, r]));
  });

  define('WATimeUtils', (exports) => {
    exports.unixTime = () => Math.floor(Date.now() / 1000);
    exports.unixTimeMs = () => Date.now();
  });

  define('WAWebMsgModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class MsgModel extends Model {
      initialize() {
        // Media stands beside the attributes, as in the real model.
        if (this.attributes.filehash) {
          const { MediaData } = require('WAWebMediaData');
          this.mediaData = new MediaData(this.attributes);
          this.mediaObject = { type: String(this.attributes.type).toUpperCase() };
        }
      }

      get senderObj() {
        return { isMe: this.id.fromMe };
      }

      async downloadMedia() {
        await require('WAWebMediaData').download(this);
      }

      msgContextInfo() {
        return {
          quotedMsg: this.toJSON(),
          quotedStanzaID: this.id.id,
          quotedParticipant: this.author ?? this.from,
        };
      }
    }
    describe(MsgModel, 'msg', [
      'id', 'body', 'type', 'subtype', 't', 'from', 'to', 'author', 'self', 'ack', 'local', 'isNewMsg', 'caption',
      'mimetype', 'filename', 'size', 'filehash', 'directPath', 'notifyName', 'quotedStanzaID', 'quotedParticipant',
      'quotedMsg', 'quotedRemoteJid', 'mentionedJidList', 'latestEditMsgKey', 'latestEditSenderTimestampMs', 'star', 'sender', ...CONTENT,
    ]);
    exports.default = MsgModel;
  });

  define('WAWebMsgCollection', (exports, require) => {
    const { BaseCollection } = require('WAWebModel');
    class MsgCollectionImpl extends BaseCollection {
      /** Shows messages that are stored already; wa-js wraps this to hear of revokes. */
      async processMultipleMessages(chatId, messages) {
        const chat = require('WAWebChatCollection').ChatCollection.get(chatId);
        return messages.map((message) => {
          if (message.type === 'protocol') {
            return this.get(message.protocolMessageKey)?.set({ type: 'revoked', body: '', caption: '' });
          }
          const [model] = this.add(message);
          chat.msgs.add(model);
          chat.onNewMsg(model);
          return model;
        });
      }
    }
    MsgCollectionImpl.model = require('WAWebMsgModel').default;
    exports.MsgCollectionImpl = MsgCollectionImpl;
    exports.MsgCollection = new MsgCollectionImpl();
  });

  define('WAWebContactCollection', (exports, require) => {
    const { BaseCollection } = require('WAWebModel');
    class ContactCollectionImpl extends BaseCollection {}
    ContactCollectionImpl.model = require('WAWebContactModel').default;
    exports.ContactCollectionImpl = ContactCollectionImpl;
    exports.ContactCollection = new ContactCollectionImpl();
  });

  define('WAWebContactModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class ContactModel extends Model {}
    describe(ContactModel, 'contact', ['id', 'name', 'pushname', 'isBusiness', 'isEnterprise', 'verifiedName', 'username']);
    exports.default = ContactModel;
  });

  // wa-js listens to these at its start and throws if they are not there; nothing ever happens in them here.
  for (const name of ['BlocklistCollection', 'StatusV3Collection', 'PresenceCollection']) {
    define(`WAWeb${name}`, (exports, require) => {
      const { BaseCollection } = require('WAWebModel');
      class EmptyCollection extends BaseCollection {}
      exports[name] = new EmptyCollection();
      if (name === 'StatusV3Collection') exports.StatusV3CollectionImpl = EmptyCollection;
    });
  }

  define('WAWebGroupMetadataModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class GroupMetadataModel extends Model {}
    describe(GroupMetadataModel, 'group-metadata', ['id', 'participants']);
    exports.default = GroupMetadataModel;
  });

  define('WAWebGroupMetadataCollection', (exports, require) => {
    const { BaseCollection } = require('WAWebModel');
    class GroupMetadataCollection extends BaseCollection {
      _handleParentGroupChange() {}
    }
    GroupMetadataCollection.model = require('WAWebGroupMetadataModel').default;
    exports.default = new GroupMetadataCollection();
  });

  define('WAWebChatModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    const { MsgCollectionImpl } = require('WAWebMsgCollection');
    class ChatModel extends Model {
      initialize() {
        this.msgs = new MsgCollectionImpl();
        this.presence = { subscribe: async () => undefined, chatstate: {} };
      }

      get hasUnread() {
        return Boolean(this.attributes?.unreadCount);
      }

      get groupMetadata() {
        return require('WAWebGroupMetadataCollection').default.get(this.id);
      }

      title() {
        return this.name ?? String(this.id);
      }

      onNewMsg(msg) {
        this.set({
          lastReceivedKey: msg.id,
          t: msg.t,
          unreadCount: msg.id.fromMe ? this.unreadCount : this.unreadCount + 1,
        });
      }
    }
    describe(ChatModel, 'chat', ['id', 'name', 't', 'unreadCount', 'lastReceivedKey', 'archive', 'pin', 'isReadOnly', 'active']);
    exports.default = ChatModel;
  });

  define('WAWebChatCollection', (exports, require) => {
    const { BaseCollection } = require('WAWebModel');
    class ChatCollectionImpl extends BaseCollection {}
    ChatCollectionImpl.model = require('WAWebChatModel').default;
    exports.ChatCollectionImpl = ChatCollectionImpl;
    exports.ChatCollection = new ChatCollectionImpl();
  });

  define('WAWebFindChatAction', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    const messages = require('WAWebStandinMessages');
    exports.findOrCreateLatestChat = async (wid) => {
      const { ChatCollection } = require('WAWebChatCollection');
      const latest = require('WAWebStandinLids').lids.chatOf(String(wid));
      const known = ChatCollection.get(latest);
      if (known) return { chat: { id: known.id }, created: false };
      const [chat] = ChatCollection.add({ id: createWid(latest), unreadCount: 0 });
      await messages.putChat(exports.chatRecord(chat));
      return { chat: { id: chat.id }, created: true };
    };
    exports.chatRecord = (chat) => ({
      id: String(chat.id),
      name: chat.name,
      t: chat.t,
      unreadCount: chat.unreadCount,
      last: chat.lastReceivedKey && String(chat.lastReceivedKey),
    });
  });

  define('WAWebMsgReply', (exports) => {
    exports.canReplyMsg = () => true;
  });

  define('WAWebGetEphemeralFields', (exports) => {
    exports.getEphemeralFields = () => ({});
  });

  define('WAWebQueryExistsJob', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    /** Null when there is no such account; rejects on a server error (wa-js makes both null). */
    exports.queryWidExists = async (wid) => {
      const found = await require('WAWebStandinLink').link.request('exists', { wid: String(wid) });
      return found.exists ? { wid: createWid(String(wid)), biz: false } : null;
    };
    exports.queryPhoneExists = async (phone) => exports.queryWidExists(`${phone}@c.us`);
  });

  define('WAWebUpdateUnreadChatAction', (exports, require) => {
    const { chatRecord } = require('WAWebFindChatAction');
    exports.sendSeen = async ({ chat }) => {
      if (!chat.unreadCount) return;
      chat.unreadCount = 0;
      await require('WAWebStandinMessages').putChat(chatRecord(chat));
      require('WAWebStandinLink').link.send('seen', { chat: String(chat.id) });
    };
    exports.markUnread = async (chat) => {
      chat.unreadCount = -1;
    };
  });
})();
