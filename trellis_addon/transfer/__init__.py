"""Going out: the one door to HTTP, and files that come in by it.

client      every HTTP client of the project: which way a request goes
proxies     what this machine says of proxies
trust       whose certificates are trusted
pip_files   pip's settings, which count for more than pip
line        a request that can be left at any moment
failures    why a connection did not come about, in sentences
download    large files: several at once, checked, gone on with after a break
file        one of them
part        what has come of it so far
board       how far they all are, in words
ranges      which part of a file a reply holds
small       small files, into memory
errors      what can go wrong with a download, in sentences
"""
