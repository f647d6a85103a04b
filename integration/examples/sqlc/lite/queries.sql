-- name: AddReceipt :exec
INSERT INTO receipts (id, account_id, amount) VALUES (?, ?, ?);

-- name: Balance :one
SELECT balance FROM accounts WHERE id = ?;
