// Who is in which group. Read in wa-js: a participant's id is a number's or a LID's, and it looks for a mention's
// digits among these ids alone. A group of which the server says nothing has metadata without participants.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebStandinGroups', (exports, require) => {
    const { createWid } = require('WAWebWidFactory');
    const { Model, BaseCollection, describe } = require('WAWebModel');
    const groupMetadata = require('WAWebGroupMetadataCollection').default;

    class ParticipantModel extends Model {}
    describe(ParticipantModel, 'participant', ['id']);
    class ParticipantCollection extends BaseCollection {
      iAmAdmin() {
        return this.isAdmin === true;
      }
    }
    ParticipantCollection.model = ParticipantModel;

    /** Participants by group, as ids, and the groups of which the account is an admin. */
    exports.note = (groups, adminOf) => {
      for (const [group, people] of Object.entries(groups)) {
        const participants = new ParticipantCollection();
        participants.add(people.map((id) => ({ id: createWid(id) })));
        participants.isAdmin = adminOf.includes(group);
        groupMetadata.add({ id: createWid(group) })[0].set({ participants });
      }
    };

    exports.handlers = {
      group({ groups, admin_of, number }) {
        exports.note(groups, admin_of);
        require('WAWebStandinLink').link.send('ack', { number });
      },
    };
  });
})();
