-- name: AddReceipt :exec
INSERT INTO receipts (id, account_id, amount) VALUES ($1, $2, $3);

-- name: Balance :one
SELECT balance FROM accounts WHERE id = $1;
