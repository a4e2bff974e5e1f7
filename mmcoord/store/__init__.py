"""The store: tables, transactions, the work queue, the count ledger, the journal."""
