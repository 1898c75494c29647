"""The closure: which paths stay, each with its reasons, grown from recordings by rules until nothing changes.

`model` is what rules see and say, `worklist` grows the closure, `rules` lists who
speaks, and each folder holds one family of rules. Rules read the Root through the View and never run the target.
"""
