// Who is in which group. Read in wa-js: a participant's id is a number's or a LID's, and it looks for a mention's
// digits among these ids alone. A group of which the server says nothing has metadata without participants.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebParticipantModel', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    class ParticipantModel extends Model {}
    describe(ParticipantModel, 'participant', ['id', 'isAdmin', 'isSuperAdmin']);
    exports.default = ParticipantModel;
  });

  define('WAWebParticipantCollection', (exports, require) => {
    const { BaseCollection } = require('WAWebModel');
    class ParticipantCollection extends BaseCollection {
      iAmMember() {
        return Boolean(this.get(require('WAWebUserPrefsMeUser').getMaybeMePnUser()));
      }

      iAmAdmin() {
        return this.isAdmin === true || this.get(require('WAWebUserPrefsMeUser').getMaybeMePnUser())?.isAdmin === true;
      }

      canRemove() {
        return this.iAmAdmin();
      }
    }
    ParticipantCollection.model = require('WAWebParticipantModel').default;
    exports.default = ParticipantCollection;
  });

  define('WAWebStandinGroups', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    const groupMetadata = require('WAWebGroupMetadataCollection').default;
    const ParticipantCollection = require('WAWebParticipantCollection').default;

    /**
     * Participants by group, as ids, the names of those that we made, and the groups of which the account is an admin:
     * those that we made, and others.
     */
    exports.note = (groups, names = {}, adminOf = []) => {
      const { ChatCollection } = require('WAWebChatCollection');
      const me = require('WAWebUserPrefsMeUser').getMaybeMePnUser();
      for (const [group, people] of Object.entries(groups)) {
        const name = names[group];
        const participants = new ParticipantCollection();
        const isOurs = (id) => name !== undefined && String(me) === id;
        participants.add(people.map((id) => ({ id: createWid(id), isAdmin: isOurs(id), isSuperAdmin: isOurs(id) })));
        participants.isAdmin = adminOf.includes(group);
        const metadata = groupMetadata.add({ id: createWid(group) })[0];
        metadata.set({ participants, ...(name !== undefined && { subject: name, owner: me, stale: false }) });
        if (name !== undefined) ChatCollection.add({ id: createWid(group), name, unreadCount: 0 });
      }
    };

    exports.handlers = {
      group({ groups, names, admin_of, number }) {
        exports.note(groups, names, admin_of);
        require('WAWebStandinLink').link.send('ack', { number });
      },
    };
  });

  // What the server is asked about groups and pictures. wa-js's sources have the names, parameters and results.
  const ask = (require, what, fields) => require('WAWebStandinLink').link.request('ask', { what, ...fields });

  define('WAWebGroupCreateJob', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    exports.GroupAlreadyExistsError = class extends Error {};
    exports.createGroup = async ({ title }, participants) => {
      const people = participants.map(({ phoneNumber }) => String(phoneNumber));
      const { id, added } = await ask(require, 'create', { name: title, people });
      return {
        wid: createWid(id),
        participants: added.map(([one, error]) => ({
          wid: createWid(one), error, invite_code: error === '403' ? 'invited' : null, invite_code_exp: null,
        })),
      };
    };
  });

  define('WAWebGroupModifyParticipantsJob', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    exports.addGroupParticipants = async (group, participants) => {
      const people = participants.map(({ phoneNumber, lid }) => String(phoneNumber ?? lid));
      const { added } = await ask(require, 'add', { group: String(group), people });
      return {
        status: 207,
        participants: added.map(([one, error]) => ({
          userWid: createWid(one), code: error ?? '200', invite_code: null, invite_code_exp: null,
        })),
      };
    };
    for (const name of ['removeGroupParticipants', 'promoteGroupParticipants', 'demoteGroupParticipants']) {
      exports[name] = async () => { throw new Error('not of the stand-in'); };
    }
  });

  define('WAWebModifyParticipantsGroupAction', (exports, require) => {
    exports.removeParticipants = async (chat, participants) => {
      await ask(require, 'remove', { group: String(chat.id), people: participants.map(({ id }) => String(id)) });
    };
    for (const name of ['addParticipants', 'promoteParticipants', 'demoteParticipants', 'promoteCommunityParticipants',
      'demoteCommunityParticipants']) {
      exports[name] = async () => { throw new Error('not of the stand-in'); };
    }
  });

  define('WAWebMexFetchGroupInviteCodeJob', (exports, require) => {
    exports.fetchMexGroupInviteCode = async (group) => (await ask(require, 'invite', { group: String(group) })).code;
  });

  define('WAWebProfilePicThumbCollection', (exports, require) => {
    const { Model, BaseCollection, describe } = require('WAWebModel');
    class ProfilePicThumbModel extends Model {}
    describe(ProfilePicThumbModel, 'profile-pic-thumb', ['id', 'img', 'imgFull']);
    class ProfilePicThumbCollection extends BaseCollection {
      async find(id) {
        const { url } = await ask(require, 'picture', { of: String(id) });
        return new ProfilePicThumbModel({ id, img: url, imgFull: url });
      }
    }
    exports.ProfilePicThumbCollection = new ProfilePicThumbCollection();
  });
})();
