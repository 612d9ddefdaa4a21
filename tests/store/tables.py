"""How the application's table looks in the field."""

OLDER = """
CREATE TABLE whatsapp_accounts (
  session_id VARCHAR(191) NOT NULL UNIQUE,
  workspace_id BIGINT NOT NULL,
  phone_number VARCHAR(50),
  status VARCHAR(20) NOT NULL DEFAULT 'qr_scanning'
)
"""

UNIQUE_NUMBER = """
CREATE UNIQUE INDEX one_number ON whatsapp_accounts (phone_number, workspace_id, status)
"""

_PROVIDER = "'meta', 'webjs'"
_STATUS = "'qr_scanning', 'authenticated', 'connected', 'disconnected', 'failed'"
_REASON = "'user_initiated', 'instance_restart', 'timeout', 'error', 'qr_expired', 'unknown'"

MYSQL_ENUMS = f"""
CREATE TABLE whatsapp_accounts (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  uuid CHAR(36) NOT NULL UNIQUE DEFAULT (UUID()),
  workspace_id BIGINT UNSIGNED NOT NULL,
  session_id VARCHAR(255) NOT NULL UNIQUE,
  phone_number VARCHAR(50) NULL,
  provider_type ENUM({_PROVIDER}) NOT NULL DEFAULT 'webjs',
  status ENUM({_STATUS}) NOT NULL DEFAULT 'qr_scanning',
  is_primary TINYINT(1) NOT NULL DEFAULT 0,
  is_active TINYINT(1) NOT NULL DEFAULT 1,
  metadata JSON NULL,
  last_activity_at TIMESTAMP NULL,
  last_connected_at TIMESTAMP NULL,
  disconnected_at TIMESTAMP NULL,
  disconnect_reason ENUM({_REASON}) NULL,
  disconnect_details VARCHAR(255) NULL,
  health_score INT NOT NULL DEFAULT 100,
  created_at TIMESTAMP NULL,
  updated_at TIMESTAMP NULL,
  deleted_at TIMESTAMP NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
"""

POSTGRESQL_ENUMS = (
    f"CREATE TYPE provider AS ENUM ({_PROVIDER})",
    f"CREATE TYPE account_status AS ENUM ({_STATUS})",
    f"CREATE TYPE reason AS ENUM ({_REASON})",
    """
CREATE TABLE whatsapp_accounts (
  id BIGSERIAL PRIMARY KEY,
  uuid UUID NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  workspace_id BIGINT NOT NULL,
  session_id VARCHAR(255) NOT NULL UNIQUE,
  phone_number VARCHAR(50),
  provider_type provider NOT NULL DEFAULT 'webjs',
  status account_status NOT NULL DEFAULT 'qr_scanning',
  is_primary BOOLEAN NOT NULL DEFAULT false,
  is_active BOOLEAN NOT NULL DEFAULT true,
  metadata JSONB,
  last_activity_at TIMESTAMPTZ,
  last_connected_at TIMESTAMP(0),
  disconnected_at TIMESTAMP(0),
  disconnect_reason reason,
  disconnect_details VARCHAR(255),
  health_score SMALLINT NOT NULL DEFAULT 100,
  created_at TIMESTAMP(0),
  updated_at TIMESTAMP(0),
  deleted_at TIMESTAMP(0)
)
""",
)

_CHATS = """
CREATE TABLE chats (
  id {serial} PRIMARY KEY,
  workspace_id INT NOT NULL,
  whatsapp_account_id INT NULL,
  wam_id VARCHAR(128) NULL,
  whatsapp_message_id VARCHAR(128) NULL,
  contact_id INT NOT NULL,
  type {type} NULL,
  metadata TEXT NOT NULL,
  deleted_at TIMESTAMP NULL
){engine}
"""
_CHATS_INDEX = "CREATE INDEX chats_whatsapp_message_id_index ON chats (whatsapp_message_id)"
_TYPE = "'inbound', 'outbound'"

# the application's messages, with as many columns as concern anybody here
CHATS: dict[str, tuple[str, ...]] = {
    "sqlite": (_CHATS.format(serial="INTEGER", type="VARCHAR(8)", engine=""), _CHATS_INDEX),
    "postgresql": (
        _CHATS.format(serial="BIGSERIAL", type="VARCHAR(255)", engine=""),
        _CHATS_INDEX,
    ),
    "mariadb": (
        _CHATS.format(
            serial="BIGINT UNSIGNED NOT NULL AUTO_INCREMENT",
            type=f"ENUM({_TYPE})",
            engine=" ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        ),
        _CHATS_INDEX,
    ),
}
