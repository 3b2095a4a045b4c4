"""From a folder of one's own photographs to a routed model: what ``finetune`` does, step by step."""
