"""How training windows are made from stored records: cut, mixed, disturbed, masked and stripped of leads."""
