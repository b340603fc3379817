"""Board drivers: where records pass between members that the ledger need not order."""
