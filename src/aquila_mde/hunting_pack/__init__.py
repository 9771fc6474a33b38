"""The hunting pack: questions to the collected data, in KQL and ES|QL."""
