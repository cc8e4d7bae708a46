"""How a passage and its prompt become the string a model reads."""


def passage_text(title: str, section: str, text: str) -> str:
    """Title, section and text as one string; empty parts leave no gap."""
    return " ".join(part for part in (title, section, text) if part)


def with_prompt(prompt: str, text: str) -> str:
    """The prompt in front of the text, exactly as sentence-transformers puts it (no space added)."""
    return prompt + text
