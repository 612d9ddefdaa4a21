BEGIN TRANSACTION;
CREATE TABLE waguard_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT waguard_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "waguard_alembic_version" VALUES('0017');
CREATE TABLE waguard_alerts (
	destination VARCHAR(32) NOT NULL, 
	at DOUBLE NOT NULL, 
	record TEXT NOT NULL, 
	PRIMARY KEY (destination)
);
INSERT INTO "waguard_alerts" VALUES('0f0f0f0f0f0f0f0f',1790000000.5,'{"reported": {"disk_low/disk_low/@h1": {"type": "disk_low", "reason": "disk_low", "session": null, "message": "m", "remedy": "r", "since": 1.0, "seen": 2.0, "ended": null, "host": "h1"}}, "causes": {"disk_low/disk_low": 3.0}, "at": 3.0}');
CREATE TABLE waguard_credential_parts (
	session_id VARCHAR(255) NOT NULL, 
	file VARCHAR(32) NOT NULL, 
	part INTEGER NOT NULL, 
	epoch BIGINT NOT NULL, 
	bytes BLOB NOT NULL, 
	PRIMARY KEY (session_id, file, part)
);
INSERT INTO "waguard_credential_parts" VALUES('alpha','0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d',0,3,X'7365616C6564');
CREATE TABLE waguard_credentials (
	session_id VARCHAR(255) NOT NULL, 
	host VARCHAR(64) NOT NULL, 
	epoch BIGINT NOT NULL, 
	pairing VARCHAR(64), 
	files BLOB, 
	files_epoch BIGINT NOT NULL, 
	shipped_at DOUBLE NOT NULL, 
	orderly BOOLEAN NOT NULL, 
	PRIMARY KEY (session_id)
);
INSERT INTO "waguard_credentials" VALUES('alpha','0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c',4,'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a',X'7365616C6564',3,1790000000.5,1);
CREATE TABLE waguard_deliveries (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	endpoint VARCHAR(255) NOT NULL, 
	event_id VARCHAR(32) NOT NULL, 
	event VARCHAR(64) NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	lane VARCHAR(255) NOT NULL, 
	body BLOB NOT NULL, 
	state VARCHAR(8) NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_at DOUBLE NOT NULL, 
	last_error TEXT, 
	created_at DOUBLE NOT NULL, 
	died_at DOUBLE, tried_since DOUBLE, held_since DOUBLE, cause VARCHAR(16), 
	CONSTRAINT waguard_deliveries_state_check CHECK (state IN ('pending', 'dead'))
);
INSERT INTO "waguard_deliveries" VALUES(1,'*','00112233445566778899aabbccddeeff','message_received','alpha','628123@c.us',X'7B226576656E74223A226D6573736167655F7265636569766564222C2264617461223A7B226D657373616765223A7B226964223A2266616C73655F36323831323340632E75735F3341222C22626F6479223A2268C3A9227D7D7D','pending',2,1790000000.5,'HTTP 500',1790000000.5,NULL,1790000000.5,1790000000.5,NULL);
CREATE TABLE waguard_endpoints (
	session_id VARCHAR(255) NOT NULL, 
	url TEXT NOT NULL, 
	secret TEXT, 
	updated_at DATETIME NOT NULL, hold BOOLEAN, events TEXT, fields VARCHAR(16), 
	PRIMARY KEY (session_id)
);
INSERT INTO "waguard_endpoints" VALUES('alpha','https://receiver.example/hook','s','2026-09-21 14:13:20.500000',0,'["message_received"]',NULL);
CREATE TABLE waguard_events (
	id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	session_id VARCHAR(255), 
	kind VARCHAR(64) NOT NULL, 
	"before" TEXT, 
	"after" TEXT, 
	reason TEXT, 
	evidence TEXT NOT NULL, host VARCHAR(255), 
	PRIMARY KEY (id)
);
INSERT INTO "waguard_events" VALUES(1,1790000000.5,'alpha','status','connected','disconnected','the network is down','{"blame": "network", "\u00e4": [1, null]}','h1');
CREATE TABLE waguard_files (
	id INTEGER NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	inbox_key VARCHAR(255) NOT NULL, 
	message_id VARCHAR(256) NOT NULL, 
	handle VARCHAR(64) NOT NULL, 
	mimetype VARCHAR(200) NOT NULL, 
	size BIGINT, 
	state VARCHAR(8) NOT NULL, 
	tries INTEGER NOT NULL, 
	sha256 VARCHAR(64), 
	error TEXT, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT waguard_files_once UNIQUE (handle), 
	CONSTRAINT waguard_files_state_check CHECK (state IN ('waiting', 'kept', 'failed'))
);
CREATE TABLE waguard_hosts (
	host VARCHAR(255) NOT NULL, 
	revision BIGINT NOT NULL, 
	record TEXT NOT NULL, 
	PRIMARY KEY (host)
);
INSERT INTO "waguard_hosts" VALUES('h1',9,'{"format":1,"host":"h1"}');
CREATE TABLE waguard_inbox (
	id INTEGER NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	workspace_id BIGINT NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	chat VARCHAR(128), 
	at DOUBLE NOT NULL, 
	stored_at DOUBLE NOT NULL, 
	backfilled BOOLEAN NOT NULL, 
	payload TEXT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT waguard_inbox_once UNIQUE (session_id, "key")
);
INSERT INTO "waguard_inbox" VALUES(1,'alpha','false_628123@c.us_3A',7,'message','628123@c.us',1790000000.5,1790000000.5,0,'{"message": {"id": "false_628123@c.us_3A", "body": "h\u00e9"}}');
CREATE TABLE waguard_installation (
	id INTEGER NOT NULL, 
	installation VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "waguard_installation" VALUES(1,'0f0f0f0f0f0f0f0f');
CREATE TABLE waguard_key_changes (
	id INTEGER NOT NULL, 
	revision BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "waguard_key_changes" VALUES(1,9);
CREATE TABLE waguard_keys (
	sha256 VARCHAR(64) NOT NULL, 
	id VARCHAR(8) NOT NULL, 
	version INTEGER NOT NULL, 
	record TEXT NOT NULL, 
	expires_at DOUBLE, 
	ended_at DOUBLE, 
	ended_by VARCHAR(255), 
	used_at DOUBLE, 
	seal VARCHAR(64) NOT NULL, 
	PRIMARY KEY (sha256), 
	UNIQUE (id)
);
INSERT INTO "waguard_keys" VALUES('0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f','0a1b2c3d',1,'{"id": "0a1b2c3d", "name": "shop", "sha256": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "right": "send", "workspaces": [7], "sessions": ["alpha"], "expires_at": 1790000060.0, "created_at": 1790000000.0, "created_by": "ani", "made_with": "ffffffff", "used_at": null, "ended_at": null, "ended_by": null, "for_page": false}',1790000060.5,1790000000.5,'root by the socket',1790000000.5,'4633bb90fc0b4040ee666d99ba490e1d5c04561049ccc286e339e0dadd9941e7');
CREATE TABLE waguard_lease (
	id INTEGER NOT NULL, 
	epoch BIGINT NOT NULL, 
	machine VARCHAR(64) NOT NULL, 
	runtime TEXT NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	pid BIGINT NOT NULL, 
	instance VARCHAR(64) NOT NULL, 
	taken_at DOUBLE NOT NULL, 
	renewed_at DOUBLE NOT NULL, 
	lasts DOUBLE NOT NULL, 
	renewed_every DOUBLE NOT NULL, 
	released BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "waguard_lease" VALUES(1,4,'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a','/run/waguard','one',4242,'00112233445566ff',1790000000.5,1790000000.5,75.0,25.0,1);
CREATE TABLE waguard_numbers (
	id INTEGER NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	number VARCHAR(128) NOT NULL, 
	known BOOLEAN NOT NULL, 
	asked_at DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT waguard_numbers_once UNIQUE (session_id, number)
);
INSERT INTO "waguard_numbers" VALUES(1,'alpha','628123@c.us',1,1790000000.5);
CREATE TABLE waguard_outbox (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	session_id VARCHAR(255) NOT NULL, 
	workspace_id BIGINT NOT NULL, 
	chat VARCHAR(128) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	body BLOB NOT NULL, 
	content BLOB, 
	message_id VARCHAR(255) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	ack INTEGER, 
	error TEXT, 
	attempts INTEGER NOT NULL, 
	idempotency_key VARCHAR(255), 
	fingerprint VARCHAR(64) NOT NULL, 
	queued BOOLEAN NOT NULL, 
	answered BOOLEAN NOT NULL, 
	send_at DOUBLE, 
	expires_at DOUBLE, 
	sent_at BIGINT, 
	bulk_id VARCHAR(36), 
	created_at DOUBLE NOT NULL, 
	updated_at DOUBLE NOT NULL, phone VARCHAR(50), 
	CONSTRAINT waguard_outbox_once UNIQUE (session_id, idempotency_key), 
	CONSTRAINT waguard_outbox_state_check CHECK (state IN ('accepted', 'sending', 'uncertain', 'refused', 'sent', 'delivered', 'read', 'failed', 'cancelled'))
);
INSERT INTO "waguard_outbox" VALUES(1,'alpha',7,'628123@c.us','text',X'7B2274797065223A2274657874222C2263686174223A2236323831323340632E7573222C2274657874223A226869222C226D6573736167655F6964223A22222C2274696D656F7574223A302E307D',NULL,'true_628123@c.us_3EB0','delivered',2,NULL,1,'order-1','0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f',1,1,1790000000.5,1790000060.5,1790000001,'00000000-0000-0000-0000-000000000001',1790000000.5,1790000000.5,'628123');
CREATE TABLE waguard_owners (
	session_id VARCHAR(255) NOT NULL, 
	host VARCHAR(255), 
	incarnation VARCHAR(64), 
	epoch BIGINT NOT NULL, 
	to_host VARCHAR(255), 
	moved_at DOUBLE, 
	PRIMARY KEY (session_id)
);
INSERT INTO "waguard_owners" VALUES('alpha','h1','0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b',5,'h2',1790000000.5);
CREATE TABLE waguard_people (
	id INTEGER NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	lid VARCHAR(128) NOT NULL, 
	number VARCHAR(128) NOT NULL, 
	learned_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "waguard_people" VALUES(1,'alpha','7@lid','628123@c.us',1790000000.5);
CREATE TABLE waguard_proxies (
	session_id VARCHAR(255) NOT NULL, 
	mark VARCHAR(64) NOT NULL, 
	at DOUBLE NOT NULL, 
	sealed BLOB, 
	PRIMARY KEY (session_id)
);
INSERT INTO "waguard_proxies" VALUES('alpha','0e0e0e0e0e0e0e0e',1790000000.5,X'7365616C6564');
CREATE TABLE waguard_readers (
	id INTEGER NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	message_id VARCHAR(255) NOT NULL, 
	reader VARCHAR(128) NOT NULL, 
	ack INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "waguard_readers" VALUES(1,'alpha','true_628123@c.us_3EB0','628999@c.us',3,1790000000.5);
CREATE TABLE waguard_sessions (
	session_id VARCHAR(255) NOT NULL, 
	workspace_id BIGINT NOT NULL, 
	desired VARCHAR(4) NOT NULL, 
	generation BIGINT NOT NULL, 
	account_id BIGINT, 
	priority INTEGER NOT NULL, 
	displaced_phone VARCHAR(50), 
	disconnect_reason VARCHAR(32), 
	disconnect_details TEXT, 
	disconnected_at DATETIME, 
	last_connected_at DATETIME, 
	last_activity_at DATETIME, 
	metadata TEXT, 
	deleted_at DATETIME, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, linked_phone VARCHAR(50), removed_at DATETIME, unpaired BOOLEAN, limits TEXT, 
	PRIMARY KEY (session_id), 
	CONSTRAINT waguard_sessions_desired_check CHECK (desired IN ('up', 'down'))
);
INSERT INTO "waguard_sessions" VALUES('alpha',7,'up',9,5,3,'628999','timeout','the network is down','2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000','{"theirs": 1}',NULL,'2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000','628123',NULL,0,'{"codes":[1790000000.0]}');
CREATE TABLE waguard_undecryptable (
	id INTEGER NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	workspace_id BIGINT NOT NULL, 
	message_id VARCHAR(256) NOT NULL, 
	chat VARCHAR(128), 
	at DOUBLE NOT NULL, 
	since DOUBLE NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	inbox_key VARCHAR(255), 
	PRIMARY KEY (id), 
	CONSTRAINT waguard_undecryptable_once UNIQUE (session_id, message_id), 
	CONSTRAINT waguard_undecryptable_state_check CHECK (state IN ('waiting', 'readable', 'over', 'given_up'))
);
INSERT INTO "waguard_undecryptable" VALUES(1,'alpha',7,'false_628123@c.us_3B','628123@c.us',1790000000.5,1790000000.5,'waiting',NULL);
CREATE TABLE whatsapp_accounts (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36), 
	workspace_id BIGINT NOT NULL, 
	session_id VARCHAR(255) NOT NULL, 
	phone_number VARCHAR(50), 
	provider_type VARCHAR(16) DEFAULT 'webjs' NOT NULL, 
	status VARCHAR(16) DEFAULT 'qr_scanning' NOT NULL, 
	is_primary BOOLEAN DEFAULT 0 NOT NULL, 
	is_active BOOLEAN DEFAULT 1 NOT NULL, 
	qr_code TEXT, 
	session_data TEXT, 
	metadata JSON, 
	last_activity_at DATETIME, 
	last_connected_at DATETIME, 
	disconnected_at DATETIME, 
	disconnect_reason VARCHAR(32), 
	disconnect_details TEXT, 
	health_score INTEGER DEFAULT '100' NOT NULL, 
	session_restore_count INTEGER DEFAULT '0' NOT NULL, 
	last_cleanup_at DATETIME, 
	assigned_instance_index INTEGER, 
	assigned_instance_url VARCHAR(255), 
	session_storage_path VARCHAR(500), 
	session_file_size_bytes BIGINT, 
	created_by BIGINT, 
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	PRIMARY KEY (id), 
	CONSTRAINT whatsapp_accounts_provider_type_check CHECK (provider_type IN ('meta', 'webjs')), 
	CONSTRAINT whatsapp_accounts_status_check CHECK (status IN ('qr_scanning', 'authenticated', 'connected', 'disconnected', 'failed')), 
	CONSTRAINT whatsapp_accounts_disconnect_reason_check CHECK (disconnect_reason IN ('user_initiated', 'instance_restart', 'timeout', 'error', 'qr_expired', 'unknown')), 
	UNIQUE (uuid), 
	UNIQUE (session_id)
);
INSERT INTO "whatsapp_accounts" VALUES(5,'00000000-0000-0000-0000-000000000005',7,'alpha','628123','webjs','disconnected',1,1,'2@code','{}','{"theirs": 1}','2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000','timeout','the network is down',70,3,'2026-09-21 14:13:20.500000',1,'http://127.0.0.1:3001','/sessions/alpha',4096,2,'2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000',NULL);
CREATE INDEX waguard_events_session ON waguard_events (session_id, id);
CREATE INDEX waguard_inbox_chat ON waguard_inbox (session_id, chat, at);
CREATE INDEX waguard_inbox_age ON waguard_inbox (stored_at);
CREATE INDEX waguard_deliveries_queue ON waguard_deliveries (state, endpoint, id);
CREATE INDEX waguard_deliveries_session ON waguard_deliveries (session_id, event);
CREATE INDEX waguard_outbox_message ON waguard_outbox (message_id);
CREATE INDEX waguard_outbox_state ON waguard_outbox (state, id);
CREATE INDEX waguard_outbox_bulk ON waguard_outbox (bulk_id);
CREATE INDEX waguard_outbox_age ON waguard_outbox (created_at);
CREATE INDEX waguard_deliveries_lane ON waguard_deliveries (session_id, lane, id);
CREATE INDEX waguard_people_session ON waguard_people (session_id, id);
CREATE INDEX waguard_readers_message ON waguard_readers (message_id, session_id);
CREATE INDEX waguard_readers_age ON waguard_readers (at);
CREATE INDEX waguard_undecryptable_age ON waguard_undecryptable (state, since);
CREATE INDEX waguard_undecryptable_inbox ON waguard_undecryptable (session_id, inbox_key);
CREATE INDEX waguard_files_state ON waguard_files (state, session_id, id);
CREATE INDEX waguard_files_inbox ON waguard_files (session_id, inbox_key);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('waguard_deliveries',1);
INSERT INTO "sqlite_sequence" VALUES('waguard_outbox',1);
COMMIT;
