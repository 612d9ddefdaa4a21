// What happens beside messages: edits, revokes, reactions, votes, calls.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebCallState', (exports) => {
    const states = ['INCOMING_RING', 'OUTGOING_RING', 'ACTIVE', 'ENDED', 'REJECTED', 'NOT_ANSWERED'];
    exports.CALL_STATES = Object.fromEntries(states.map((s) => [s, s]));
  });

  define('WAWebCallModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class CallModel extends Model {
      getState() {
        return this.attributes.state;
      }
    }
    describe(CallModel, 'call', ['id', 'peerJid', 'offerTime', 'isVideo', 'isGroup', 'outgoing']);
    exports.default = CallModel;
  });

  // wa-js wraps these two to hear of a call.
  define('WAWebCallCollection', (exports, require) => {
    const { BaseCollection } = require('WAWebModel');
    class CallCollectionImpl extends BaseCollection {
      processIncomingCall(offer) {
        const { INCOMING_RING } = require('WAWebCallState').CALL_STATES;
        const [call] = this.add({ ...offer, outgoing: false, state: INCOMING_RING });
        return call;
      }

      setActiveCall(call) {
        this.activeCall = call;
      }
    }
    CallCollectionImpl.model = require('WAWebCallModel').default;
    exports.CallCollectionImpl = CallCollectionImpl;
    exports.CallCollection = new CallCollectionImpl();
  });

  // wa-js wraps this to hear of a reaction; nothing here shows one.
  define('WAWebReactionsMsgAction', (exports) => {
    exports.addOrUpdateReactionsModelCollection = async () => undefined;
  });

  // wa-js wraps this to hear of votes in polls; nothing here shows one.
  define('WAWebPollsUpsertVotes', (exports) => {
    exports.upsertVotesDb = async () => undefined;
  });

  define('WAWebStandinHappenings', (exports, require) => {
    const MsgKey = require('WAWebMsgKey').default;
    const { createWid } = require('WAWebWidFactory');
    const { MsgCollection } = require('WAWebMsgCollection');
    const messages = require('WAWebStandinMessages');
    const acknowledge = ({ number }) => require('WAWebStandinLink').link.send('ack', { number });

    exports.handlers = {
      async edit(stanza) {
        const { id, message, body, t } = stanza;
        const known = await messages.get(message);
        const text = { [known?.attributes.filehash ? 'caption' : 'body']: body };
        await messages.update(message, { ...text, latestEditMsgKey: id });
        acknowledge(stanza);
        MsgCollection.get(message)?.set({
          ...text,
          latestEditSenderTimestampMs: t * 1000,
          latestEditMsgKey: MsgKey.fromString(id),
        });
      },

      async revoke(stanza) {
        const { id, message, chat, author, t } = stanza;
        await messages.update(message, { type: 'revoked', body: '', caption: '' });
        acknowledge(stanza);
        await MsgCollection.processMultipleMessages(createWid(chat), [
          {
            id: MsgKey.fromString(id),
            type: 'protocol',
            subtype: 'sender_revoke',
            protocolMessageKey: MsgKey.fromString(message),
            from: createWid(chat),
            author: author && createWid(author),
            t,
            isNewMsg: true,
          },
        ]);
      },

      async reaction(stanza) {
        const { id, message, sender, text, t } = stanza;
        acknowledge(stanza);
        await require('WAWebReactionsMsgAction').addOrUpdateReactionsModelCollection(
          { msgKey: id, parentMsgKey: message, reactionText: text, senderUserJid: sender, read: false, orphan: 0, t },
          true,
        );
      },

      async vote({ number, id, message, sender, options, t }) {
        acknowledge({ number });
        await require('WAWebPollsUpsertVotes').upsertVotesDb([{
          ack: 1,
          msgKey: MsgKey.fromString(id),
          parentMsgKey: MsgKey.fromString(message),
          selectedOptionLocalIds: options,
          sender: createWid(sender),
          senderTimestampMs: t * 1000 + 999,
        }]);
      },

      call({ id, from, video, group, t }) {
        require('WAWebCallCollection').CallCollection.processIncomingCall({
          id,
          peerJid: createWid(from),
          isVideo: video,
          isGroup: group,
          offerTime: t,
        });
      },
    };
  });
})();
