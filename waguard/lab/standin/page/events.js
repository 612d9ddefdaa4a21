// Backbone-like events, models and collections, as far as wa-js uses them.
(() => {
  'use strict';
  const { define } = window.__standin;

  define('WAWebEventEmitter', (exports) => {
    exports.EventEmitter = class EventEmitter {
      on(names, callback, context) {
        for (const name of names.split(' ')) {
          this._events ??= new Map();
          if (!this._events.has(name)) this._events.set(name, []);
          this._events.get(name).push({ callback, context });
        }
        return this;
      }

      once(names, callback, context) {
        const listener = (...args) => {
          this.off(names, listener);
          callback.apply(context ?? this, args);
        };
        listener.original = callback;
        return this.on(names, listener, context);
      }

      off(names, callback) {
        if (!this._events) return this;
        for (const name of names ? names.split(' ') : [...this._events.keys()]) {
          const kept = (this._events.get(name) ?? []).filter(
            (l) => callback && l.callback !== callback && l.callback.original !== callback,
          );
          this._events.set(name, kept);
        }
        return this;
      }

      trigger(name, ...args) {
        for (const { callback, context } of [...(this._events?.get(name) ?? [])]) {
          try {
            callback.apply(context ?? this, args);
          } catch (error) {
            // One bad listener must not keep the others from hearing it.
            reportError(error);
          }
        }
        return this;
      }

      listenTo(other, names, callback) {
        other.on(names, callback, this);
        return this;
      }
    };
  });

  define('WAWebModel', (exports, require) => {
    const { EventEmitter } = require('WAWebEventEmitter');

    class Model extends EventEmitter {
      constructor(attributes = {}) {
        super();
        this.attributes = { ...attributes };
        Object.defineProperty(this, '_collections', { value: new Set() });
        this.initialize();
      }

      initialize() {}

      get(name) {
        return this.attributes[name];
      }

      set(changes, value) {
        const wanted = typeof changes === 'string' ? { [changes]: value } : changes;
        const changed = Object.entries(wanted).filter(([name, v]) => this.attributes[name] !== v);
        const previous = { ...this.attributes };
        Object.assign(this.attributes, Object.fromEntries(changed));
        for (const [name, v] of changed) this._announce(`change:${name}`, this, v, previous[name]);
        if (changed.length) this._announce('change', this);
        return this;
      }

      _announce(name, ...args) {
        this.trigger(name, ...args);
        for (const collection of this._collections) collection.trigger(name, ...args);
      }

      toJSON() {
        return { ...this.attributes };
      }
    }

    /** Gives a model class its name for wa-js and a property for each attribute. */
    const describe = (modelClass, proxyName, names) => {
      modelClass.prototype.proxyName = proxyName;
      for (const name of names) {
        Object.defineProperty(modelClass.prototype, name, {
          configurable: true,
          enumerable: true,
          get() {
            return this.attributes?.[name];
          },
          set(value) {
            this.set(name, value);
          },
        });
      }
    };

    const keyOf = (key) => {
      if (key === null || key === undefined) return '';
      const isRaw = Object.getPrototypeOf(key) === Object.prototype;
      return String(isRaw || key instanceof Model ? (key.id ?? key._serialized) : key);
    };

    class BaseCollection extends EventEmitter {
      constructor() {
        super();
        this._models = [];
        this._index = new Map();
      }

      get length() {
        return this._models.length;
      }

      get(key) {
        return this._index.get(keyOf(key));
      }

      async find(key) {
        return this.get(key) ?? this.add({ id: key })[0];
      }

      add(items, options) {
        return (Array.isArray(items) ? items : [items]).map((item) => {
          const known = this.get(item);
          if (known) return known;
          const model = item instanceof Model ? item : new this.constructor.model(item);
          this._models.push(model);
          this._index.set(String(model.attributes.id), model);
          model._collections.add(this);
          this.trigger('add', model, this, options);
          return model;
        });
      }

      remove(key) {
        const model = this.get(key);
        if (!model) return;
        this._models.splice(this._models.indexOf(model), 1);
        this._index.delete(keyOf(key));
        model._collections.delete(this);
        this.trigger('remove', model, this);
      }

      getModelsArray() {
        return [...this._models];
      }

      toArray() {
        return [...this._models];
      }

      map(f) {
        return this._models.map(f);
      }

      filter(f) {
        return this._models.filter(f);
      }

      forEach(f) {
        this._models.forEach(f);
      }

      last() {
        return this._models.at(-1);
      }
    }
    BaseCollection.model = Model;

    exports.Model = Model;
    exports.BaseCollection = BaseCollection;
    exports.describe = describe;
  });
})();
