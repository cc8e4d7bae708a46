"""Questions and inferences that a language model writes about passages (AutoWikiQA and AutoWikiNLI of Ruri)."""
