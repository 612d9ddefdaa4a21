// Files: prepared, stored, uploaded by hash; downloaded when asked for.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebMediaOpaqueData', (exports) => {
    class OpaqueData {
      constructor(blob, type) {
        this.blob = blob.type === type ? blob : new Blob([blob], { type });
      }

      static async createFromData(data, type) {
        return new OpaqueData(data instanceof Blob ? data : new Blob([data]), type);
      }

      throwIfReleased() {}

      forceToBlob() {
        return this.blob;
      }

      type() {
        return this.blob.type;
      }

      size() {
        return this.blob.size;
      }
    }
    exports.default = OpaqueData;
  });

  define('WAWebLruMediaStore', (exports, require) => {
    const { media, clear } = require('WAWebStandinMessages');
    exports.LruMediaStore = {
      get: async (hash) => (await media.get(hash)) ?? null,
      put: (hash, data) => media.put(hash, data),
      has: async (hash) => Boolean(await media.get(hash)),
      del: async () => undefined,
      clear,
      count: async () => 0,
    };
  });

  define('WAWebMediaData', (exports, require) => {
    const { Model, describe } = require('WAWebModel');
    const { media } = require('WAWebStandinMessages');
    class MediaData extends Model {}
    describe(MediaData, 'media-data', ['type', 'mimetype', 'filehash', 'size', 'filename', 'mediaStage', 'mediaBlob']);
    exports.MediaData = MediaData;

    /** True when the server has the file. */
    exports.upload = async ({ filehash }) => {
      const response = await fetch(`/media/${encodeURIComponent(filehash)}`, {
        method: 'PUT',
        body: await media.get(filehash),
      }).catch(() => null);
      return Boolean(response?.ok);
    };

    /** Leaves a message whose file is gone without one: wa-js then says media_not_found. */
    exports.download = async (msg) => {
      msg.mediaData.mediaStage = 'FETCHING';
      const response = await fetch(`/media/${encodeURIComponent(msg.filehash)}`).catch(() => null);
      if (!response?.ok) {
        msg.mediaData.mediaStage = 'ERROR_MISSING';
        return;
      }
      await media.put(msg.filehash, await response.arrayBuffer());
      msg.mediaData.mediaStage = 'RESOLVED';
    };
  });

  define('WAWebMediaGatingUtils', (exports) => {
    exports.getUploadLimit = (kind) => (kind === 'document' ? 2048 : 64) * 1024 * 1024;
  });

  define('WAWebPrepRawMedia', (exports, require) => {
    const { encodeB64 } = require('WABase64');
    const { outbox } = require('WAWebStandinOutbox');
    const { MediaData } = require('WAWebMediaData');

    const kindOf = (mimetype, { asDocument, asSticker, isPtt }) => {
      const family = mimetype.split('/')[0];
      if (asDocument) return 'document';
      if (asSticker) return 'sticker';
      if (family === 'audio') return isPtt ? 'ptt' : 'audio';
      return ['image', 'video'].includes(family) ? family : 'document';
    };

    class MediaPrep {
      constructor(data, options) {
        this._mediaData = new MediaData({ type: kindOf(data.type(), options), mimetype: data.type(), size: data.size() });
        const { duration, waveform } = options.precomputedFields ?? {};
        this.recorded = { duration, waveform: waveform && [...waveform] };
        this.ready = this.prepare(data.forceToBlob());
      }

      async prepare(blob) {
        const buffer = await blob.arrayBuffer();
        const filehash = encodeB64(await crypto.subtle.digest('SHA-256', buffer));
        await require('WAWebStandinMessages').media.put(filehash, buffer);
        this._mediaData.set({ filehash, mediaStage: 'PREPARED' });
      }

      async waitForPrep() {
        await this.ready;
        return this._mediaData;
      }

      // wa-js passes one object if this takes one argument.
      async sendToChat({ chat, options }) {
        await this.ready;
        const { type, mimetype, size, filehash } = this._mediaData.attributes;
        const model = await outbox.store(chat, {
          ...options.productMsgOptions,
          caption: options.caption,
          isViewOnce: options.isViewOnce,
          ...this.recorded,
          type,
          mimetype,
          size,
          filehash,
        });
        return outbox.send(model);
      }
    }
    exports.MediaPrep = MediaPrep;
    exports.prepRawMedia = (data, options) => new MediaPrep(data, options);
    exports.uploadProductImage = async () => {
      throw new Error('the stand-in has no catalogue');
    };
  });
})();
