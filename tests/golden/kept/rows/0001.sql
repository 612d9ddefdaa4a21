BEGIN TRANSACTION;
CREATE TABLE waguard_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT waguard_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "waguard_alembic_version" VALUES('0001');
CREATE TABLE waguard_events (
	id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	session_id VARCHAR(255), 
	kind VARCHAR(64) NOT NULL, 
	"before" TEXT, 
	"after" TEXT, 
	reason TEXT, 
	evidence TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "waguard_events" VALUES(1,1790000000.5,'alpha','status','connected','disconnected','the network is down','{"blame": "network", "\u00e4": [1, null]}');
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
	updated_at DATETIME NOT NULL, 
	PRIMARY KEY (session_id), 
	CONSTRAINT waguard_sessions_desired_check CHECK (desired IN ('up', 'down'))
);
INSERT INTO "waguard_sessions" VALUES('alpha',7,'up',9,5,3,'628999','timeout','the network is down','2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000','{"theirs": 1}',NULL,'2026-09-21 14:13:20.500000','2026-09-21 14:13:20.500000');
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
COMMIT;
